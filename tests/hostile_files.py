"""A registry of invalid inputs by name, and files whose headers promise more than they hold."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np

DIGITS = "9" * 5000
CASES = {}


def add(family, name, call):
    """Registers an input: a function of a folder of its own."""
    name = f"{family}: {name if len(name) < 60 else name[:57] + '...'}"
    assert name not in CASES, name
    CASES[name] = call


def write(place, name, content):
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def make_pipe(place, name):
    os.mkfifo(place / name)
    return place / name


def npy_head(descr="|u1", shape=(4,), fortran_order=False, version=(1, 0)):
    """The head of an ``.npy`` file, whatever it says."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {fortran_order}, 'shape': {shape!r}, }}".encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text


def pack(path, members, compression=zipfile.ZIP_STORED):
    """A zip file of members by name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(values):
    """Writes a valid ``.npy`` file."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


# Arrays that are none, by what is wrong with them.
BAD_ARRAYS = {
    "a million millions of rows": npy_head(shape=(10**12, 28, 28)),
    "petabytes": npy_head("<f8", (2**50,)),
    "eleven gibibytes": npy_head(shape=(11 * 2**30,)) + bytes(100),
    "beyond 64 bits": npy_head(shape=(2**70,)),
    "many sides of two": npy_head(shape=(2,) * 60),
    "a side below zero": npy_head(shape=(-1, 28, 28)),
    "sides that cancel out": npy_head(shape=(-4, -1)) + bytes(4),
    "a side that is text": npy_head(shape=("many",)),
    "a shape that is a number": npy_head(shape=7),
    "a value of ten gigabytes": npy_head("|V10000000000", (1,)),
    "Python objects": npy_head("|O", (4,)) + b"\x80\x04N.",
    "no type": npy_head("x9"),
    "a nested type": npy_head([("a", "<f8"), ("a", "<f8")], (2,)),
    "a call": npy_head("__import__('os').abort()"),
    "another version": npy_head(version=(9, 0)),
    "half a head": npy_head()[:20],
    "no head": b"no array",
    "nothing": b"",
    "one value less": npy(np.zeros((4, 28, 28), np.uint8))[:-1],
    "one value more": npy(np.zeros((4, 28, 28), np.uint8)) + b"x",
}


def png_of(width, height, content=b""):
    """A PNG file whose head promises any size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def tiff_of(width, height):
    """A TIFF file whose head promises any size."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 9)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(4)


def nifti_of(shape, dtype=2):
    """The head of a NIfTI file that promises any size."""
    sides = [len(shape), *shape, *([1] * (7 - len(shape)))]
    head = bytearray(348)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, *sides)
    struct.pack_into("<hh", head, 70, dtype, 8)
    struct.pack_into("<8f", head, 76, *[1.0] * 8)
    struct.pack_into("<f", head, 108, 352.0)
    head[344:348] = b"n+1\0"
    return bytes(head) + bytes(4)


# Files of images that are none.
BAD_IMAGES = {
    "huge.png": png_of(10**9, 10**9),
    "wide.png": png_of(2**31 - 1, 1),
    "short.png": png_of(3000, 3000, bytes(10)),
    "zero.png": png_of(0, 0),
    "huge.tif": tiff_of(10**9, 10**9),
    "empty.png": b"",
    "text.jpg": b"no image",
    "half.gif": b"GIF89a\xff\xff\xff\xff",
    "bomb.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    "magic.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "zeros.dcm": bytes(200),
    "mark.dcm": bytes(128) + b"DICM" + bytes(50),
    "tag.dcm": bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\xff\xff" + b"\xff" * 60,
    "huge.nii": nifti_of((32767, 32767, 1)),
    "deep.nii": nifti_of((32767,) * 7),
    "none.nii": nifti_of((0, 0)),
    "below.nii": nifti_of((-5, 9)),
    "kind.nii": nifti_of((4, 4), dtype=9999),
    "text.nii.gz": b"no gzip",
    "zeros.nii": bytes(400),
}
