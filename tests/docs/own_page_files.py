"""Files that stand in for the reader's own where a page is run."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from dicom_samples import write_dicom


def _draw(place: int, side: int = 32) -> np.ndarray:
    """Returns a dark or a bright image with grain of its own."""
    grain = np.random.default_rng(place).integers(0, 60, (side, side))
    return (grain + 150 * (place % 2)).astype(np.uint8)


def write_dicom_folder(folder: Path) -> None:
    """Writes ``my_dicom/`` with two classes of 20 files, each of a patient of its own."""
    for place in range(40):
        of_class = folder / "my_dicom" / ("ill" if place % 2 else "healthy")
        of_class.mkdir(parents=True, exist_ok=True)
        write_dicom(of_class / f"IM{place:04}.dcm", _draw(place).astype(np.uint16), PatientID=f"P{place}")


def write_nifti_folder(folder: Path) -> None:
    """Writes ``my_nifti/`` with two classes of 10 volumes."""
    import nibabel

    for place in range(20):
        of_class = folder / "my_nifti" / ("ill" if place % 2 else "healthy")
        of_class.mkdir(parents=True, exist_ok=True)
        values = np.stack([_draw(place + 100 * depth) for depth in range(4)], axis=-1).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), of_class / f"{place:03}.nii.gz")


def write_tables(folder: Path) -> None:
    """Writes ``labels.csv`` with ``my_images/`` and ``other.csv`` with ``other_images/``, and ``new_images/``."""
    for name, count in (("my_images", 60), ("other_images", 20), ("new_images", 4)):
        (folder / name).mkdir()
        start = {"my_images": 0, "other_images": 1000, "new_images": 2000}[name]
        for place in range(count):
            Image.fromarray(_draw(start + place)).save(folder / name / f"{place:03}.png")
    own = [f"{place:03}.png,{'malignant' if place % 2 else 'benign'}" for place in range(60)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *own]) + "\n", encoding="utf-8")
    others = [f"{place:03}.png,{'maligno' if place % 2 else 'benigno'},C{place}" for place in range(20)]
    (folder / "other.csv").write_text("\n".join(["file,diagnosis,case_no", *others]) + "\n", encoding="utf-8")


def write_image(folder: Path) -> None:
    """Writes ``scan.png``."""
    Image.fromarray(_draw(0)).save(folder / "scan.png")
