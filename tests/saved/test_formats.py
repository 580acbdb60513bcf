"""The table of export formats: an entry is all that the command line, exporting, loading and the card need."""

import keras
import numpy as np
import pytest
import tiny_models  # noqa: F401, registers the networks

from keras_lnn.cli.export import ExportCommand, run_export
from keras_lnn.cli.parsing import parse_command
from keras_lnn.cli.train import TrainCommand
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model
from keras_lnn.saved.export import export_model
from keras_lnn.saved.formats import FORMATS, Format, list_exports
from keras_lnn.saved.predictor import load_model, load_predictor
from keras_lnn.saved.signature import Signature, save_keras

SHAPE = (8, 8, 1)
SIGNATURE = Signature("tiny-dense", {}, "binary", ("no", "yes"), SHAPE, "d", None, "md5:0", "", 130, 0, 1, "a test")


@pytest.fixture
def archives(monkeypatch):
    """The entry of a format that the package does not have, and nothing else of it."""
    monkeypatch.setitem(FORMATS, "npz", Format("array_archives", "weights.npz", "an archive of arrays"))


@pytest.fixture
def saved(tmp_path):
    keras.utils.set_random_seed(1)
    save_keras(build_model("tiny-dense", SHAPE, 2), SIGNATURE, tmp_path / "best.keras")
    return tmp_path / "best.keras"


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        parse_command(command, ["--help"], "program")
    return " ".join(capsys.readouterr().out.split())


def test_a_new_format_is_offered_by_the_command_line(archives, capsys):
    assert "--format {saved_model,keras,onnx,litert,openvino,npz}" in help_of(ExportCommand, capsys)
    assert "--export {saved_model,keras,onnx,litert,openvino,npz,none}" in help_of(TrainCommand, capsys)
    assert TrainConfig(export="npz").export == "npz"


def test_only_known_formats_are_offered(capsys):
    assert "--format {saved_model,keras,onnx,litert,openvino}" in help_of(ExportCommand, capsys)
    with pytest.raises(InputError, match=r"export must be 'saved_model', 'keras', .* or 'none'\. Received: 'npz'\."):
        TrainConfig.create({"export": "npz"})
    with pytest.raises(InputError, match=r"There is no export format 'keas'. Did you mean keras"):
        export_model("nowhere", "out", "keas")
    assert [*FORMATS, "none"] == list(list_exports())


def test_a_new_format_is_written_recognised_and_loaded(archives, saved, tmp_path, capsys):
    folder = tmp_path / "out"
    run_export(parse_command(ExportCommand, [str(saved), "--format", "npz", "--output", str(folder)], "program"))
    assert "exported" in capsys.readouterr().out
    images = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    found = load_predictor(folder)
    assert found.signature == SIGNATURE
    np.testing.assert_array_equal(found.predict(images), load_predictor(saved).predict(images))
    card = (folder / "README.md").read_text()
    assert 'load_predictor("path/to/this/folder")' in card
    assert "model.predict(images)" in card
    with pytest.raises(InputError, match=r"needs a run or a \.keras file. Received: .*, an archive of arrays"):
        load_model(folder)


def test_a_new_format_is_stored_beside_other_exports(archives, saved, tmp_path):
    assert export_model(saved, tmp_path / "out", "keras") == tmp_path / "out"
    assert export_model(saved, tmp_path / "out", "npz") == tmp_path / "out-npz"
    assert export_model(saved, tmp_path / "out-npz", "keras") == tmp_path / "out-npz-keras"


def test_a_format_that_changes_predictions_is_refused(archives, saved, tmp_path, monkeypatch):
    import array_archives

    monkeypatch.setattr(array_archives, "write", lambda predictor, folder, samples: np.savez(folder / "weights.npz"))
    monkeypatch.setattr(keras.Model, "set_weights", lambda model, weights: None)
    with pytest.raises(RuntimeError, match="probabilities differ from"):
        export_model(saved, tmp_path / "out", "npz")
    assert not (tmp_path / "out").exists()
