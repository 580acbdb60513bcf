"""How much a DICOM file holds, by its header and by the headers of its compressed frames."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from keras_lnn.data.decode.dicom_files import has_mark
from keras_lnn.data.decode.file_values import import_package
from keras_lnn.serving.limits import Refused

_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1")
# Start-of-frame markers of JPEG, and the one of JPEG-LS.
_FRAME_STARTS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_CODESTREAM = b"\xff\x4f\xff\x51"


def is_dicom(head: bytes) -> bool:
    """Returns whether the first bytes of a file are those of DICOM."""
    return has_mark(head)


def count_dicom_pixels(path: Path, *, all_frames: bool) -> int:
    """Returns the pixels of a DICOM file.

    Args:
        path: The file.
        all_frames: Whether all its frames are counted, or one.
    """
    pydicom = import_package("pydicom", "dicom")
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        # Its reader inflates such a file at once, whatever its header says.
        if str(meta.get("TransferSyntaxUID", "")) in _DEFLATED:
            raise Refused(415, "deflated DICOM, which is not accepted. Save it with another transfer syntax")
        dataset = pydicom.dcmread(path)
        sides = int(dataset.Rows), int(dataset.Columns)
        frames, samples = int(dataset.get("NumberOfFrames") or 1), int(dataset.get("SamplesPerPixel") or 1)
        compressed = meta.TransferSyntaxUID.is_encapsulated
        sizes = _read_frame_sizes(dataset, frames) if compressed else set()
    except Refused:
        raise
    except Exception:  # what the reader raises on damaged files has no common class
        raise Refused(422, "damaged, or DICOM without an image") from None
    if frames < 1 or samples < 1 or min(sides) < 1:
        raise Refused(422, "a DICOM file without pixels")
    if sizes - {sides}:
        raise Refused(422, f"DICOM whose compressed frames are not of its {sides[0]}x{sides[1]} pixels")
    return sides[0] * sides[1] * samples * (frames if all_frames else 1)


def _read_frame_sizes(dataset: Any, frames: int) -> set[tuple[int, int]]:
    """Returns height and width as the compressed frames have them, of kinds that say so."""
    from pydicom import encaps

    found = encaps.generate_frames(dataset.PixelData, number_of_frames=frames)
    return {size for frame in found if (size := read_frame_size(frame)) is not None}


def read_frame_size(frame: bytes) -> tuple[int, int] | None:
    """Returns height and width by the header of a compressed frame; None for run lengths, which have none.

    Args:
        frame: JPEG, JPEG-LS or JPEG 2000.
    """
    place = frame.find(_CODESTREAM, 0, 2**16)
    if place >= 0:
        width, height, left, top = struct.unpack_from(">4I", frame, place + 8)
        return height - top, width - left
    if not frame.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 9 <= len(frame):
        if frame[place] != 0xFF:
            raise ValueError("no marker")
        marker = frame[place + 1]
        if marker in _FRAME_STARTS:
            height, width = struct.unpack_from(">2H", frame, place + 5)
            return height, width
        # Fill bytes and markers without content.
        alone = marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8
        place += 1 if marker == 0xFF else 2 if alone else 2 + struct.unpack_from(">H", frame, place + 2)[0]
    raise ValueError("no size")
