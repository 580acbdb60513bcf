"""Patients of images without a table, read from the PatientID of DICOM files and pseudonymised."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_lnn.data.decode import dicom_files
from keras_lnn.data.decode.dicom_volumes import list_slices
from keras_lnn.data.decode.images import map_files
from keras_lnn.files.atomic import cache_folder

_KEY_BYTES = 32
_NAME_DIGITS = 12
# Placeholders for a patient's number in anonymised files, in lower-case letters and digits.
_NOBODY = frozenset(["", "0", "anonymous", "anonymized", "anonymised", "anon", "unknown", "none", "na", "nan", "id"])
# With fewer patients no split is made by patient: an anonymised set often has one number for all.
_FEWEST_PATIENTS = 3


@dataclasses.dataclass(frozen=True)
class FoundPatients:
    """Patients named in DICOM files.

    Args:
        names: Pseudonym of the patient of each file; None if the files name none.
        note: How they were found, in a sentence; empty if no file is a DICOM file.
    """

    names: list[str] | None
    note: str = ""


def find_patients(files: Sequence[Path]) -> FoundPatients:
    """Reads the patients of images from DICOM files.

    A patient's number is never returned: it is replaced by a keyed hash, whose key stays in the cache of this user, so
    that nobody can find the number by trying all of them. A file without a number counts as a separate patient.

    Args:
        files: Image files of any kind.
    """
    # A series of slices is represented by its first one.
    files = [next(iter(list_slices(file)), file) if file.is_dir() else file for file in files]
    dicom = [row for row, file in enumerate(files) if dicom_files.is_dicom(file)]
    if not dicom:
        return FoundPatients(None)
    numbers = dict(zip(dicom, map_files(_read_number, [files[row] for row in dicom]), strict=True))
    known = {row: number for row, number in numbers.items() if _is_somebody(number)}
    count = len(set(known.values()))
    if count < _FEWEST_PATIENTS:
        few = f"of {count} patient{'s' if count > 1 else ''} only" if count else "missing"
        return FoundPatients(None, f"the PatientID of the DICOM files is {few}, so it is not used")
    key = _read_key()
    names = [f"alone-{row}" if row not in known else _rename(known[row], key) for row in range(len(files))]
    others = f"; each of the {len(files) - len(known):,} other files counts as a separate patient"
    note = f"patients are those of the PatientID in {len(known):,} of {len(files):,} files, {count:,} in all"
    return FoundPatients(names, note + (others if len(known) < len(files) else ""))


def _read_number(file: Path) -> str:
    try:
        return dicom_files.read_patient_id(file)
    except Exception:  # reported when the file is decoded
        return ""


def _is_somebody(number: str) -> bool:
    plain = "".join(letter for letter in number.lower() if letter.isalnum())
    return plain not in _NOBODY and bool(plain.strip("0x"))


def _rename(number: str, key: bytes) -> str:
    return f"dicom-{hmac.new(key, number.encode(), hashlib.sha256).hexdigest()[:_NAME_DIGITS]}"


def _read_key() -> bytes:
    """Returns the key of this user, which is created if missing; if it cannot be saved, a temporary one."""
    path = cache_folder() / "patients.key"
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        if not _is_key(path):
            # Written beside its final path, so that two processes at once both get the key of the first.
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # for this user only
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(key)
            if path.exists():
                os.replace(temporary, path)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, path)
                os.unlink(temporary)
        return path.read_bytes()
    except OSError:
        return key


def _is_key(path: Path) -> bool:
    """Returns whether a file is a complete key."""
    return path.is_file() and path.stat().st_size == _KEY_BYTES
