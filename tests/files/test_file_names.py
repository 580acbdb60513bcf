"""File names that are not valid text, and terminals that lack a character."""

import io
import os
import sys

import numpy as np
import pandas as pd
import pytest
import trial_models  # noqa: F401, registers quick-net
from PIL import Image
from quick_predictors import Brightness, BrightPixels
from recorded_samples import draw_images

from keras_lnn.cli.parsing import run_main
from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.evaluation.mask_overlaps import measure_masks
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.image_predictions import predict_files, write_predictions
from keras_lnn.saved.mask_predictions import predict_masks
from keras_lnn.tasks.prediction_tables import tabulate_measures
from keras_lnn.terminal import loading, make_console
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.training.loop import train

# An e with an accent in latin-1, as old archives have it, which is no UTF-8.
NAME, SHOWN = os.fsdecode(b"caf\xe9"), "caf\\udce9"


def draw(path):
    Image.fromarray(np.full((16, 16), 200, np.uint8)).save(path)
    return path


def test_probabilities_of_a_file_are_written_under_a_name_that_is_text(tmp_path):
    table = predict_files(Brightness("dark", "bright"), [draw(tmp_path / f"{NAME}.png")])
    write_predictions(table, tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["file"].tolist() == [f"{tmp_path}/{SHOWN}.png"]


def test_a_mask_has_the_name_of_its_image(tmp_path):
    output = tmp_path / f"{NAME} masks"
    table = predict_masks(BrightPixels(), [draw(tmp_path / f"{NAME}.png")], output, overlay=True)
    assert (output / f"{NAME}.png").is_file()
    assert pd.read_csv(output / "predictions.csv")["mask"].tolist() == table["mask"].tolist()
    assert table["mask"].tolist() == [f"{tmp_path}/{SHOWN} masks/{SHOWN}.png"]


def own_folder(root):
    """A folder of two classes whose own name, one class and some files are no UTF-8."""
    folder = root / NAME
    for name, seed in (("benign", 0), (NAME, 1)):
        draw_images(folder / name, 12, seed)
        (folder / name / "003.png").rename(folder / name / f"{NAME}.png")
    return folder


def test_loaded_names_and_classes_are_text(tmp_path):
    data = load_data(f"folder:{own_folder(tmp_path)}", size=12)
    assert data.class_names == ("benign", SHOWN)
    names = [name for split in data.splits.values() for name in split.names]
    assert {f"benign/{SHOWN}.png", f"{SHOWN}/{SHOWN}.png"} < set(names)
    pd.DataFrame({"file": names})


@pytest.mark.slow
def test_a_run_on_files_with_odd_names_completes(tmp_path):
    values = {"model": "quick-net", "data": f"folder:{own_folder(tmp_path)}", "size": 12, "epochs": 1}
    values |= {"run_dir": tmp_path / "run", "export_dir": tmp_path / "exported"}
    with make_text_stream("latin-1") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit, match=r"^0$"):
            run_main(lambda _: train(TrainConfig.create(values)) and 0)
    expected = RunFolder(tmp_path / "run").read_metrics()["test"]
    assert evaluate_model(tmp_path / "run")["test"] == expected
    assert (tmp_path / "exported" / "run" / "README.md").read_text().count(SHOWN) >= 2


def test_the_table_of_measured_masks_holds_odd_names(tmp_path):
    masks = np.zeros((1, 4, 4), np.uint8)
    masks[0, 1] = 1
    split = Split(masks[..., None], masks, names=[SHOWN])
    measures = measure_masks(masks, masks, ("background", "bright"))
    assert tabulate_measures(split, measures, "test")["file"].tolist() == [SHOWN]


def test_a_run_needs_a_folder_that_tensorflow_can_open(tmp_path):
    with pytest.raises(InputError, match=r"path must be valid UTF-8\. Received: .*caf\\udce9\. Choose another"):
        RunFolder.create(TrainConfig(run_dir=tmp_path / NAME), {})
    assert list(tmp_path.iterdir()) == []


def make_text_stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_terminal_without_a_letter_shows_its_number(encoding, monkeypatch):
    streams = [make_text_stream(encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])

    def main(_):
        console = make_console()
        with loading(console, "loading naïve ź"):
            console.print(f"ź {NAME} …")
        raise InputError(f"ź {NAME}")

    with pytest.raises(SystemExit, match=r"^2$"):
        run_main(main)
    written = [stream.buffer.getvalue().decode(encoding) for stream in streams]
    letter = "ź" if encoding == "utf-8" else "\\u017a"
    assert written[0].startswith(f"{letter} {SHOWN}")
    assert written[1] == f"error: {letter} {SHOWN}\n"
