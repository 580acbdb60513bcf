"""Results never replace files that this package has not written."""

import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from quick_predictors import BrightPixels

from keras_lnn.errors import InputError
from keras_lnn.files.written import LIST_FILE, WrittenFiles, is_stream, require_own_folder
from keras_lnn.plots import require_free_picture, save_figure
from keras_lnn.saved.image_predictions import require_free_table, write_predictions
from keras_lnn.saved.mask_predictions import predict_masks

OTHER = r"Only .* replaced"


def draw(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_foreign_masks_are_not_replaced(tmp_path):
    image, mask = draw(tmp_path / "images" / "a.png"), draw(tmp_path / "masks" / "a.png", 1)
    before = contents(mask.parent)
    with pytest.raises(InputError, match=OTHER):
        predict_masks(BrightPixels(), [image.parent], mask.parent)
    assert contents(mask.parent) == before


@pytest.mark.parametrize("name", ["a-overlay.png", "predictions.csv"])
def test_other_files_in_the_output_folder_are_not_replaced(tmp_path, name):
    image, output = draw(tmp_path / "a.png"), tmp_path / "out"
    output.mkdir()
    (output / name).write_text("file,grade\n")
    with pytest.raises(InputError, match=OTHER):
        predict_masks(BrightPixels(), [image], output, overlay=True)
    assert contents(output) == {name: b"file,grade\n"}


def test_masks_are_rewritten_unless_one_was_edited(tmp_path):
    image, output = draw(tmp_path / "a.png"), tmp_path / "out"
    predict_masks(BrightPixels(), [image], output)
    draw(image, 2)
    predict_masks(BrightPixels(), [image], output)
    with Image.open(image) as drawn, Image.open(output / "a.png") as mask:
        assert np.array_equal(np.asarray(mask), np.asarray(drawn) > 127)
    corrected = draw(output / "a.png", 3).read_bytes()
    with pytest.raises(InputError, match=r"a\.png, which is not one of them\. Choose another --output"):
        predict_masks(BrightPixels(), [image], output)
    assert (output / "a.png").read_bytes() == corrected


def test_the_list_of_written_files_can_be_checked_by_other_programs(tmp_path):
    written = WrittenFiles(tmp_path, "")
    written.write_text(tmp_path / "table.csv", "a\n")
    with written.write(tmp_path / "plots") as temporary:
        temporary.mkdir()
        (temporary / "b.png").write_bytes(b"b")
    if sys.platform == "linux":
        done = subprocess.run(["sha256sum", "-c", LIST_FILE], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == ["table.csv: OK", "plots/b.png: OK"]
    again = WrittenFiles(tmp_path, "")
    again.require_free([tmp_path / "table.csv", tmp_path / "plots", tmp_path / "new"])
    (tmp_path / "plots" / "c.png").write_bytes(b"c")
    with pytest.raises(InputError, match=r"plots/c\.png"):
        again.require_free([tmp_path / "plots"])


def table_of_predictions(value=0.5):
    return pd.DataFrame({"file": ["a.png"], "predicted": ["x"], "probability x": [value], "probability y": [1 - value]})


@pytest.mark.parametrize("content", [b"file,grade\na.png,3\n", b"\x89PNG\r\n", b"", b"file,predicted,mine\n"])
def test_a_table_replaces_only_earlier_predictions(tmp_path, content):
    path = tmp_path / "out.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=OTHER):
        require_free_table(path)
    with pytest.raises(InputError, match=OTHER):
        write_predictions(table_of_predictions(), path)
    assert contents(tmp_path) == {"out.csv": content}


def test_earlier_predictions_are_replaced_and_links_to_them_stay(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    assert not require_free_table(real)
    write_predictions(table_of_predictions(), real)
    link.symlink_to(real)
    assert require_free_table(link)
    write_predictions(table_of_predictions(0.25), link)
    assert link.is_symlink()
    assert pd.read_csv(real)["probability x"].tolist() == [0.25]


def test_results_are_written_into_a_pipe(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_predictions(table_of_predictions(), pipe)
    reader.join()
    assert read == ["file,predicted,probability x,probability y\na.png,x,0.5,0.5\n"]
    assert pipe.is_fifo()
    assert is_stream(pipe)
    assert not is_stream(tmp_path)


def test_results_are_written_to_redirected_standard_output(tmp_path, capfd):
    output = "/dev/stdout"
    assert not require_free_table(output)
    print("before")
    write_predictions(table_of_predictions(), output)
    print("after")
    assert capfd.readouterr().out.splitlines()[::2] == ["before", "a.png,x,0.5,0.5"]
    assert os.path.islink(output)


def test_a_picture_replaces_only_pictures_of_this_package(tmp_path):
    scan = draw(tmp_path / "scan.png")
    with pytest.raises(InputError, match=OTHER):
        require_free_picture(scan)
    save_figure(Figure((1, 1)), tmp_path / "ours.png")
    require_free_picture(tmp_path / "ours.png")
    require_free_picture(tmp_path / "new.png")


def test_an_output_folder_is_recognised_by_its_marker(tmp_path):
    require_own_folder(tmp_path / "new", "state.json", ["plots"], "--study-dir")
    (tmp_path / "plots").mkdir()
    with pytest.raises(InputError, match=r"--study-dir must not name a folder .* with plots\."):
        require_own_folder(tmp_path, "state.json", ["plots", "table.txt"], "--study-dir")
    (tmp_path / "state.json").write_text("{}")
    require_own_folder(tmp_path, "state.json", ["plots"], "--study-dir")
