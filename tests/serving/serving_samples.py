"""Servers in a thread of the test, and requests to them."""

import contextlib
import dataclasses
import gzip
import http.client
import io
import json
import struct
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from hostile_files import nifti_of, npy, npy_head, png_of

from keras_lnn.serving.server import make_server, open_socket
from keras_lnn.serving.service import Service

BOUNDARY = "----boundary"


@dataclasses.dataclass
class Answer:
    """A response.

    Args:
        status: Its status.
        headers: Its headers.
        body: Its content.
    """

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclasses.dataclass
class Running:
    """A server that answers.

    Args:
        port: Its port.
        folder: The folder of the files of its requests.
        service: What answers.
    """

    port: int
    folder: Path
    service: Service

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            # A refusal may come before all of the request was sent.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, files, headers=None, **fields):
        """Sends files by their names as a form."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.ask("POST", "/predict", make_form(files, fields), kind | (headers or {}))

    def post_json(self, content, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", "/predict", body, {"Content-Type": "application/json"} | (headers or {}))


@contextlib.contextmanager
def run_server(service, names=()):
    """Yields a running server, and stops it with its service."""
    with tempfile.TemporaryDirectory() as folder, open_socket("127.0.0.1", 0) as opened:
        server = make_server(service, Path(folder), names)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield Running(opened.getsockname()[1], Path(folder), service)
        finally:
            server.should_exit = True
            thread.join()
            service.stop()


def make_form(files, fields):
    parts = []
    for name, content in files.items() if isinstance(files, dict) else files:
        head = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: application/x-any'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode("utf-8", "surrogateescape") + content + b"\r\n")
    for name, value in fields.items():
        head = f'Content-Disposition: form-data; name="{name}"'
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n".encode())
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def png(pixels):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def noise(seed=0, shape=(20, 24)):
    return np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)


def nifti(values, affine=None):
    import nibabel

    return nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_bytes()


def dicom(rows=8, columns=8, *, pixels=None, syntax="1.2.840.10008.1.2.1", **values):
    """A DICOM file; with other pixels than its header promises, if these are given."""
    from pydicom import encaps
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta: Any = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = noise(0, (rows, columns)).tobytes() if pixels is None else pixels
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.PixelData = encaps.encapsulate([dataset.PixelData])
        dataset["PixelData"].is_undefined_length = True
    for name, value in values.items():
        setattr(dataset, name, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def jpeg_2000_head(width, height):
    """The begin of a JPEG 2000 codestream."""
    size = struct.pack(">HHIIIIIIIIH", 41, 0, width, height, 0, 0, width, height, 0, 0, 1) + b"\x07\x01\x01"
    return b"\xff\x4f\xff\x51" + size + b"\xff\xd9"


def zip_of(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def hostile_uploads():
    """Uploads that are refused, with their status, by what is wrong with them."""
    huge = np.zeros(2**22, np.uint8)
    whole = png(noise())
    return {
        "empty.png": (b"", 422),
        "text.png": (b"no image", 415),
        "page.html": (b"<!DOCTYPE html><script>alert(1)</script>", 415),
        "postscript.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", 415),
        "truncated.png": (whole[:-40], 422),
        "huge.png": (png_of(10**9, 10**9), 413),
        "bomb.png": (png_of(60_000, 60_000, bytes(2**20)), 413),
        "bomb.nii.gz": (gzip.compress(nifti_of((30_000, 30_000, 9)) + bytes(2**22)), 413),
        "trailing-bomb.gz": (gzip.compress(bytes(2**24)), 415),
        "before-values.nii.gz": (gzip.compress(_with_offset(nifti_of((4, 4)), 2e9) + bytes(2**22)), 415),
        "half.nii.gz": (gzip.compress(nifti(noise(0, (9, 9, 9))))[:200], 422),
        "deep.nii": (nifti_of((32767,) * 7), 413),
        "none.nii": (nifti_of((0, 0)), 422),
        "bits.nii": (nifti_of((4, 4), dtype=9999), 422),
        "frames.dcm": (dicom()[:-30], 422),
        "mark.dcm": (bytes(128) + b"DICM" + b"\xff" * 99, 422),
        "huge.dcm": (dicom(60_000, 60_000, pixels=bytes(64)), 413),
        "inner-bomb.dcm": (dicom(pixels=jpeg_2000_head(60_000, 60_000), syntax="1.2.840.10008.1.2.4.90"), 422),
        "deflated.dcm": (dicom(syntax="1.2.840.10008.1.2.1.99"), 415),
        "many.npy": (npy_head(shape=(10**12, 28, 28)), 413),
        "objects.npy": (npy_head("|O", (4,)) + b"\x80\x04N.", 422),
        "zip.npz": (zip_of({"frames.npy": npy(huge) * 20}), 413),
        "other.zip": (zip_of({"../../evil.py": b"import os"}), 415),
    }


def _with_offset(head, offset):
    changed = bytearray(head)
    struct.pack_into("<f", changed, 108, offset)
    return bytes(changed)
