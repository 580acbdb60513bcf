"""The command ``explain``: mistakes in one line, and the whole command on several kinds of models."""

import keras
import numpy as np
import pytest
import tiny_models  # noqa: F401, registers tiny-liquid
from explanation_samples import make_signature
from PIL import Image
from test_command_line import call

from keras_lnn import __main__ as program
from keras_lnn.cli.explain import ExplainCommand, run_explain
from keras_lnn.cli.parsing import parse_command
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model, get_model, list_models
from keras_lnn.saved.predictor import require_keras_file
from keras_lnn.saved.signature import save_keras
from keras_lnn.training.loop import train


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of images that nobody has trained, and a folder of images."""
    folder = tmp_path_factory.mktemp("explained")
    inputs = keras.Input((6, 6, 1))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    signature = make_signature(class_names=("benign", "malignant"), image_shape=(6, 6, 1), data="phantom-breast")
    save_keras(network, signature, folder / "tiny.keras")
    (folder / "images").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 7), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


MISTAKES = [
    (["nowhere.keras"], "A model must be a path or a name"),
    (["{}/tiny.keras", "{}/nowhere.png"], "nowhere.png, which does not exist"),
    (["{}/tiny.keras", "{}/broken.png"], "broken.png"),
    (
        ["{}/tiny.keras", "{}/images", "--method", "grad-cam,gradcam"],
        "There is no method 'gradcam'. Did you mean grad-cam",
    ),
    (["{}/tiny.keras", "{}/images", "--target", "malign"], "Did you mean malignant"),
    (["{}/tiny.keras", "{}/images", "--examples", "4"], "--examples is for examples of the data"),
    (["{}/tiny.keras", "{}/images", "--method", "grad-cam"], "Grad-CAM needs convolutions"),
    (["{}/tiny.keras", "{}/images", "--output", "{}/broken.png"], "--output"),
    (["{}/tiny.keras", "{}/images", "--time-column", "t"], "--time-column"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_mistakes_end_in_one_line_and_nothing_is_written(words, message, model, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    status = call(program.main, ["explain", *(word.replace("{}", str(model)) for word in words)], monkeypatch)
    err = capfd.readouterr().err
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_exported_format_names_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"a run or a \.keras file.*Use its run"):
        require_keras_file(tmp_path)


def test_images_of_a_folder_are_explained(model, tmp_path, capfd):
    words = [str(model / "tiny.keras"), str(model / "images"), str(model / "broken.png"), "--skip-bad"]
    options = ["--method", "integrated-gradients,occlusion", "--target", "benign", "--output", str(tmp_path / "out")]
    run_explain(parse_command(ExplainCommand, [*words, *options], "explain"))
    assert "left out 1 of 4 files" in capfd.readouterr().out
    with np.load(tmp_path / "out" / "maps.npz") as arrays:
        assert arrays["maps"].shape == (3, 2, 6, 6)
        assert [name.rpartition("/")[2] for name in arrays["names"]] == ["0.png", "1.png", "2.png"]
    page = (tmp_path / "out" / "explanation.html").read_text()
    assert "benign" in page
    assert "A .keras file does not hold those images" in page


def save_registered(name, folder):
    """Saves an untrained model of the registry with samples that it reads, and returns their path."""
    entry = get_model(name)
    shape, outputs = {"series": (3, 28, 28, 1)}.get(entry.reads, (28, 28, 1)), 3 if entry.predicts == "masks" else 2
    try:
        network = build_model(name, shape, outputs)
    except InputError:
        shape = (28, 28, 28, 1)
        network = build_model(name, shape, outputs)
    about = {
        "task": "segmentation" if entry.predicts == "masks" else "binary",
        "class_names": ("a", "b", "c")[:outputs],
    }
    about |= {"image_shape": shape, "time_unit": "days" if entry.reads == "series" else None}
    save_keras(network, make_signature(**about), folder / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    if entry.reads == "series":
        times, lengths = np.tile(np.arange(3.0), 2), np.array([3, 3])
        np.savez(folder / "samples.npz", frames=pixels.reshape(-1, *shape[1:]), times=times, lengths=lengths)
        return folder / "samples.npz"
    (folder / "samples").mkdir()
    for number, sample in enumerate(pixels):
        if len(shape) == 4:
            np.save(folder / "samples" / f"{number}.npy", sample)
        else:
            Image.fromarray(sample[..., 0]).save(folder / "samples" / f"{number}.png")
    return folder / "samples"


@pytest.mark.slow
@pytest.mark.parametrize("name", [entry.name for entry in list_models()])
def test_each_registered_model_is_explained_from_files_to_page(name, tmp_path):
    samples = save_registered(name, tmp_path)
    words = [str(tmp_path / "model.keras"), str(samples), "--output", str(tmp_path / "out")]
    run_explain(parse_command(ExplainCommand, words, "explain"))
    page = (tmp_path / "out" / "explanation.html").read_text()
    assert page.count("What counts for") >= 2
    assert ("What the neurons did" in page) != ("There are no pictures of liquid neurons" in page)
    with np.load(tmp_path / "out" / "maps.npz") as arrays:
        assert np.isfinite(arrays["maps"]).all()


@pytest.mark.slow
def test_a_run_is_explained_with_its_check_and_its_circuit(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    config = {"model": "tiny-liquid", "data": "phantom-breast", "epochs": 1, "run_dir": "run", "export": "none"}
    train(TrainConfig(**config))
    options = ["run", "--examples", "3", "--check", "--circuit", "--samples", "12"]
    run_explain(parse_command(ExplainCommand, options, "explain"))
    page = (tmp_path / "explanations" / "run" / "explanation.html").read_text()
    for words in ("How true the maps are", "in the lesion", "smallest circuit", "(worst)", "(typical)", "(best)"):
        assert words in page
    assert "which chose nothing" in page
    assert page.count("<h4>Nearest training images</h4>") == 3
    out = capfd.readouterr().out
    assert "How true maps are, on 12 images of the test split" in out
    assert "The circuit beside the whole model" in out
    pictures = {path.name for path in (tmp_path / "explanations" / "run" / "pictures").iterdir()}
    assert {"silencing.png", "circuit.png"} <= pictures
