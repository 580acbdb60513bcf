"""Uploaded files in the places where they are read, and the address that a server listens at."""

import subprocess
import sys
from pathlib import Path

import pytest
from quick_predictors import make_signature
from serving_samples import dicom, nifti, noise

from keras_lnn.errors import InputError
from keras_lnn.serving.origins import is_loopback
from keras_lnn.serving.reading import place_files
from keras_lnn.serving.server import name_address, open_socket

ROOT = Path(__file__).parents[2]


def test_slices_are_a_volume_and_files_of_volumes_are_apart(tmp_path):
    signature = make_signature(task="binary", class_names=("a", "b"), image_shape=(4, 8, 8, 1))
    contents = {
        "one/b.dcm": dicom(8, 8),
        "one/a.dcm": dicom(8, 8),
        "two/a.dcm": dicom(8, 8),
        "one/c.nii": nifti(noise(1, (5, 6, 7))),
    }
    files = [tmp_path / f"upload-{place}" for place in range(len(contents))]
    for file, content in zip(files, contents.values(), strict=True):
        file.write_bytes(content)
    placed = place_files(files, list(contents), signature, 2**20, skip_bad=False)
    assert [path.is_dir() for path in placed.paths] == [True, True, False]
    assert [sorted(path.suffix for path in folder.iterdir()) for folder in placed.paths[:2]] == [[".dcm"] * 2, [".dcm"]]
    assert [placed.rename(str(path)) for path in placed.paths] == ["one", "two", "one/c.nii"]
    assert placed.rename(f"In {placed.paths[2]} and {placed.paths[0]}.") == "In one/c.nii and one."


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_only_this_machine_reaches_a_loopback_address(host, expected):
    assert is_loopback(host) is expected


def test_a_taken_port_is_one_clear_line():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert name_address(taken) == f"http://127.0.0.1:{port}/"
        with pytest.raises(InputError, match=f"free port.*{port}"):
            open_socket("127.0.0.1", port)
    with pytest.raises(InputError, match="address of this machine"):
        open_socket("not a host", 0)


@pytest.mark.slow
def test_exports_are_served_where_only_their_runtime_is_installed():
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "tensorflow", "scipy", "matplotlib", "sklearn", "jinja2", "medmnist"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import keras_lnn.cli.serve, keras_lnn.serving.application, keras_lnn.serving.reading, keras_lnn.serving.server
from keras_lnn.serving.service import _class_colours
assert len(_class_colours(3)) == 3
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
