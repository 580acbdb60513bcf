"""Every command and every Python block of README and the pages runs, with the smaller numbers of their comments."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from doc_blocks import CHEAP, PAGES, ROOT, read_blocks, with_options
from own_page_files import write_dicom_folder, write_image, write_nifti_folder, write_tables

# What stands for the reader's own files on a page.
_PREPARED = {
    "docs/guides/own-images.md": (write_dicom_folder, write_nifti_folder),
    "docs/guides/tables.md": (write_tables,),
    "docs/guides/evaluating.md": (write_tables,),
    "docs/guides/exporting.md": (write_image,),
}
_RUN = [
    page
    for page in PAGES
    if any(block.is_run and block.language in ("bash", "python") and block.test != CHEAP for block in read_blocks(page))
]


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in _RUN])
def test_every_block_of_a_page_runs(page, tmp_path):
    for prepare in _PREPARED.get(str(page.relative_to(ROOT)), ()):
        prepare(tmp_path)
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "lnn-breastmnist").symlink_to(ROOT / "saved_models" / "lnn-breastmnist")
    command = [sys.executable, str(Path(__file__).with_name("run_page.py")), str(page)]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_smaller_numbers_replace_those_of_the_page():
    words = ["keras-lnn", "train", "--epochs", "20", "--model", "lnn", "--size", "64"]
    options = [("--epochs", "1"), ("--max-trials", "2")]
    assert with_options(words, options) == ["keras-lnn", "train", "--model", "lnn", "--size", "64", "--epochs", "1"]
    resumed = ["keras-lnn", "train", "--resume", "runs/a"]
    assert with_options(resumed, options) == resumed
    assert with_options(["python", "benchmarks/seeds.py"], options) == ["python", "benchmarks/seeds.py"]


def test_placeholder_files_can_be_read(tmp_path):
    write_dicom_folder(tmp_path)
    write_tables(tmp_path)
    assert len(list((tmp_path / "my_dicom").rglob("*.dcm"))) == 40
    assert np.loadtxt(tmp_path / "labels.csv", dtype=str, delimiter=",").shape == (61, 2)
