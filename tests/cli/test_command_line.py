"""The commands as people type them: answers, one line for each mistake, exit statuses."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tiny_models  # noqa: F401, registers tiny-dense
import yaml
from conftest import register_tiny_data, register_tiny_volumes, run_models_eagerly
from PIL import Image

import keras_lnn
import train
from keras_lnn import __main__ as program
from keras_lnn.cli import model_list
from keras_lnn.cli.main import COMMANDS
from keras_lnn.cli.parsing import run_main
from keras_lnn.config import TrainConfig
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.training.loop import train as train_model

pytestmark = pytest.mark.usefixtures("eager_models")
ROOT = Path(train.__file__).parent
SHIPPED = json.loads(model_list._SHIPPED.read_text())["models"]


def call(main, arguments: list[str], monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    with pytest.raises(SystemExit) as caught:
        run_main(main)
    return caught.value.code


@pytest.fixture
def run_train(monkeypatch, capfd):
    def run(*arguments: str) -> tuple[int, str, str]:
        status = call(train.main, list(arguments), monkeypatch)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture
def run_program(monkeypatch, capfd):
    def run(*arguments: str) -> tuple[int, str, str]:
        status = call(program.main, list(arguments), monkeypatch)
        return (status, *capfd.readouterr())

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched, open(path / "console.txt", "w") as file:
        patched.setattr(sys, "stdout", file)
        run_models_eagerly(patched)
        assert call(train.main, options_for(path, register_tiny_data()), patched) == 0
    return path


def options_for(path, data):
    options = {"--model": "tiny-dense", "--data": data, "--epochs": "3", "--batch-size": "16"}
    options |= {"--run-dir": str(path / "run"), "--export-dir": str(path / "exported")}
    return [part for option in options.items() for part in option] + ["--no-tensorboard", "--no-explanations"]


# Each in a process that is forked from one in which the programs are imported and nothing has run.
CHECK_IMPORTS = """
import importlib, json, os, sys, tempfile
from keras_lnn.cli.parsing import run_main
programs = {name: importlib.import_module(name) for name in ("train", "keras_lnn.__main__")}
def run(program, arguments):
    sys.argv[1:] = arguments
    try:
        run_main(programs[program].main)
    except SystemExit as end:
        return [end.code, 'keras' in sys.modules, 'numpy' in sys.modules]
found = []
help_and_mistakes, others = json.loads(sys.argv[1])
for number, (program, arguments) in enumerate(help_and_mistakes + others):
    if number == len(help_and_mistakes):
        import pandas  # most of what the others import; whether NumPy is needed is not asked of them
    with tempfile.TemporaryFile("w+") as result, tempfile.TemporaryFile("w+") as errors:
        if (child := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors.fileno(), 2)
            json.dump(run(program, arguments), result)
            result.flush()
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)
        result.seek(0)
        errors.seek(0)
        found.append([*json.load(result), errors.read()])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def imports():
    """Returns exit status, whether Keras and NumPy were imported, and errors of ``train.py`` and ``keras-lnn``."""
    first = [("train", arguments) for arguments, _ in HELP_AND_MISTAKES]
    others = [("train", arguments) for arguments, _ in PATHS_OF_A_TRAINING]
    others += [("keras_lnn.__main__", arguments) for arguments, _ in PATHS]
    command = [sys.executable, "-c", CHECK_IMPORTS, json.dumps([first, others])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return {tuple(case[1]): found for case, found in zip(first + others, json.loads(done.stdout), strict=True)}


HELP_AND_MISTAKES = [(["--help"], 0), (["--epoch", "3"], 2), (["--epochs", "0"], 2)]


@pytest.mark.parametrize(("arguments", "status"), HELP_AND_MISTAKES)
def test_help_and_user_errors_do_not_import_keras(imports, arguments, status):
    assert imports[tuple(arguments)][:3] == [status, False, False]


PATHS = [
    (["predict", "lnn-breastmnst", "scan.png"], "A model must be a path or a name"),
    (["predict", "lnn-breastmnist", "nowhere.png"], "nowhere.png, which does not exist"),
    (["evaluate", "lnn-breastmnst"], "A model must be a path or a name"),
    (["evaluate", "lnn-breastmnist", "--data", "brestmnist"], "Did you mean breastmnist"),
    (["evaluate", "lnn-breastmnist", "--data", "table:nowhere.csv"], "The table must exist. Received: nowhere.csv"),
    (["evaluate", "lnn-breastmnist", "--data", "folder:nowhere"], "The folder of images must exist"),
    (["evaluate", "lnn-breastmnist", "--data", "table:README.md", "--image-dir", "nowhere"], "--image-dir must be"),
    (["export", "nowhere"], "A model must be a path or a name"),
    (["import", "nowhere.npz", "--model", "lnn", "--output", "x"], "nowhere.npz, which does not exist"),
    (["list", "models"], ""),
    (["list", "runs", "tests/previous"], ""),
    (["list", "runs", "nowhere"], "Received: nowhere, which is no folder"),
]


@pytest.mark.parametrize(("arguments", "message"), PATHS)
def test_paths_are_checked_and_models_listed_without_keras(imports, arguments, message):
    status, keras_was_imported, _, errors = imports[tuple(arguments)]
    assert (status, keras_was_imported) == (2 if message else 0, False)
    assert message in errors


PATHS_OF_A_TRAINING = [
    (["--data", "masks:nowhere"], "The folder of images must exist. Received: nowhere"),
    (["--start-from", "nowhere"], "A run must be a folder. Received: nowhere"),
]


@pytest.mark.parametrize(("arguments", "message"), PATHS_OF_A_TRAINING)
def test_training_paths_are_checked_without_keras(imports, arguments, message):
    status, keras_was_imported, _, errors = imports[tuple(arguments)]
    assert (status, keras_was_imported) == (2, False)
    assert message in errors


def test_a_configuration_is_printed_although_its_data_are_missing(run_train):
    status, out, _ = run_train("--print-config", "--data", "folder:on/another/machine")
    assert status == 0
    assert "data: folder:on/another/machine" in out


def test_help_names_every_field(run_train):
    status, out, _ = run_train("--help")
    assert status == 0
    for name in TrainConfig.model_fields:
        assert f"--{name.replace('_', '-')}" in out
    assert "None" not in out.replace("{balanced,none}", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], "There is no option --epoch. Did you mean --epochs?"),
        (["--batchsize", "3"], "There is no option --batchsize. Did you mean --batch-size?"),
        (["stray"], "There is no option stray. See train.py --help."),
        (["--epochs"], "Argument --epochs: expected one argument. See train.py --help."),
        (["--epochs", "0"], "epochs must be greater than or equal to 1. Received: '0'."),
        (["--model", "lnnn"], "There is no model 'lnnn'. Did you mean lnn"),
        (["--data", "brestmnist"], "There is no data set 'brestmnist'. Did you mean breastmnist"),
        (["--config", "nowhere.yaml"], "The configuration must be a YAML file that can be read."),
        (["--augmentation", "flip+nose"], "There is no augmentation 'nose'. Did you mean noise"),
        (
            ["--augmentation", "turn-right-angels"],
            "There is no augmentation 'turn-right-angels'. Did you mean turn-right",
        ),
        (["--show-augmentation", "sheet.jpg"], "A picture's path must end in .png. Received: sheet.jpg."),
        (["--resume", "nowhere"], "A run must be a folder. Received: nowhere"),
        (["--resume", "there", "--show-augmentation", "a.png"], "--resume takes the run's own configuration."),
        (["--resume", "there", "--show-copies", "a.png"], "--resume takes the run's own configuration."),
        (["--show-copies", "sheet.jpg"], "A picture's path must end in .png. Received: sheet.jpg."),
        (["--resume", "there", "--epochs", "3"], "--resume takes the run's own configuration."),
        (["--model-args", "units=many"], "Argument units of model lnn must be a valid integer"),
        (["--precision", "float8"], "precision must be 'float32'"),
    ],
)
def test_a_user_error_is_one_line_and_status_2(run_train, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_train(*arguments)
    assert status == 2
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_printed_configuration_can_be_read_back(run_train, tmp_path):
    status, out, _ = run_train(
        "--print-config", "--model", "dnn", "--model-args", "units=12,dropout=0.5", "--seed", "3"
    )
    assert status == 0
    values = yaml.safe_load(out)
    assert (values["model"], values["model_args"], values["epochs"]) == ("dnn", {"units": 12, "dropout": 0.5}, 50)
    path = tmp_path / "config.yaml"
    path.write_text(out)
    assert run_train("--config", str(path), "--print-config")[1] == out
    changed = run_train("--config", str(path), "--print-config", "--seed", "4", "--no-tensorboard")[1]
    assert yaml.safe_load(changed) == values | {"seed": 4, "tensorboard": False}
    assert yaml.safe_load(run_train("--print-config")[1])["model"] == "lnn"


def test_a_sheet_of_augmented_images_is_drawn_instead_of_training(run_train, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_train("--data", tiny_data, "--augmentation", "crnet", "--show-augmentation", "sheet.png")
    assert status == 0
    assert out == "augmentation  sheet.png\n"
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    options = ("--show-augmentation", "other.png", "--print-config")
    status, out, err = run_train("--data", tiny_data, "--augmentation", "crnet", *options)
    assert (yaml.safe_load(out)["augmentation"], err) == ("crnet", "augmentation  other.png\n")
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()


def test_unknown_keys_in_a_file_fail(run_train, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("epocs: 3")
    status, _, err = run_train("--config", str(path))
    assert (status, err) == (2, "error: There is no field 'epocs'. Did you mean epochs?\n")


def test_training_on_the_command_line(run_train, trained, tiny_data):
    assert "95% interval" in (trained / "console.txt").read_text()
    status, _, err = run_train(*options_for(trained, tiny_data))
    assert status == 2
    assert "must be new" in err
    status, out, _ = run_train("--resume", str(trained / "run"))
    assert status == 0
    assert "is complete" in out


def test_overview_and_unknown_commands(run_program):
    status, out, _ = run_program()
    assert status == 0
    assert all(name in out for name in COMMANDS)
    status, _, err = run_program("evalute")
    assert (status, err) == (2, "error: There is no command 'evalute'. Did you mean evaluate?\n")
    for name in COMMANDS:
        status, out, _ = run_program(name, "--help")
        assert status == 0
        assert f"usage: python -m keras_lnn {name}" in out


def test_list_models_shows_every_model(run_program, monkeypatch):
    # Models that are new are counted, and those that are known are not.
    monkeypatch.setattr(model_list, "_read", lambda file: SHIPPED if file == model_list._SHIPPED else [])
    status, out, err = run_program("list", "models", "--json")
    assert (status, err) == (0, "")
    models = {row["name"]: row for row in json.loads(out)}
    assert models["lnn"]["parameters"] == 263_048
    assert models["dnn"]["parameters"] == 935_298
    assert models["resnet152"]["parameters"] > 58_000_000
    assert models["tiny-dense"]["parameters"] == 784 * 4 + 4 + 8 + 10
    assert {"family", "summary"} <= set(models["cnn"])
    # Counting parameters has no lasting effect: layers have values again.
    assert keras.layers.Dense(2)(np.ones((1, 3))).shape == (1, 2)


def test_list_data_shows_every_data_set(run_program, real_data_dir):
    rows = {
        row["name"]: row
        for row in json.loads(run_program("list", "data", "--json", "--data-dir", str(real_data_dir))[1])
    }
    assert rows["breastmnist"]["here"]
    assert not rows["pathmnist"]["here"]
    assert rows["phantom-breast"]["here"]
    assert rows["chestmnist"]["task"] == "multi-label"
    assert len(rows["chestmnist"]["labels"]) == 14
    assert "breastmnist" in run_program("list", "data")[1]


@pytest.mark.parametrize("model", ["run", "run/best.keras", "exported/run"])
def test_evaluate_reproduces_the_metrics_of_the_run(run_program, trained, model):
    status, out, _ = run_program("evaluate", str(trained / model), "--json")
    assert status == 0
    found, expected = json.loads(out), json.loads((trained / "run" / "metrics.json").read_text())
    for name, estimate in expected["test"].items():
        assert found["test"][name] == pytest.approx(estimate, abs=1e-5)
    assert found["classes"] == ["level", "upright"]
    assert "warnings" in found
    out = run_program("evaluate", str(trained / model), "--split", "val")[1]
    assert "on the val split" in out


def test_evaluate_rejects_data_that_do_not_match_the_model(run_program, trained):
    run = str(trained / "run")
    for arguments, message in (
        ([run, "--data", register_tiny_volumes()], "must have images of the model's shape, (28, 28, 1)"),
        ([run, "--data", "chestmnst"], "There is no data set"),
        (["nowhere"], "A model must be a path or a name in saved_models/"),
        ([run, "--positive-class", "lvl"], "--positive-class must be one of two classes. Received: lvl"),
        ([run, "--split", "tst"], "split must be 'train', 'val', 'test' or 'all'"),
    ):
        status, _, err = run_program("evaluate", *arguments)
        assert status == 2
        assert message in err
        assert err.strip().count("\n") == 0


def test_evaluate_measures_the_requested_positive_class(run_program, trained):
    status, out, _ = run_program("evaluate", str(trained / "run"), "--positive-class", "level")
    assert status == 0
    assert "sensitivity (level)" in out
    assert "The class level is predicted above a threshold of 0." in out
    known = json.loads((trained / "run" / "metrics.json").read_text())["test"]
    found = json.loads(run_program("evaluate", str(trained / "run"), "--positive-class", "level", "--json")[1])["test"]
    for metric, of_other in (("sensitivity", "specificity"), ("specificity_tuned", "sensitivity_tuned")):
        assert found[metric] == known[of_other]
    assert found["accuracy_tuned"] == known["accuracy_tuned"]


def test_predict_on_files_and_folders(run_program, trained, tmp_path):
    from conftest import tiny_stripes

    images = tiny_stripes().splits["test"].images[:6]
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{index}.png")
    single = tmp_path / "colour.png"
    Image.fromarray(np.repeat(images[0], 3, axis=2)).resize((56, 56), Image.Resampling.NEAREST).save(single)
    output = tmp_path / "out" / "answers.csv"
    status, out, err = run_program("predict", str(trained / "run"), str(folder), str(single), "--output", str(output))
    assert (status, err) == (0, "")
    table = pd.read_csv(output)
    assert list(table["file"]) == [*(str(folder / f"{index}.png") for index in range(6)), str(single)]
    expected = load_predictor(trained / "run").predict(images)
    np.testing.assert_allclose(table.filter(like="probability").to_numpy()[:6], expected, atol=1e-6)
    assert set(table["predicted"]) <= {"level", "upright"}
    assert f"7 predictions  {output}" in out
    assert "predicted: upright above 0." in out
    assert "; chosen on validation by youden" in out


def test_predict_compares_images_with_those_of_the_training(run_program, trained, tmp_path):
    run = shutil.copytree(trained / "run", tmp_path / "run")
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    output = tmp_path / "out.csv"
    status, out, err = run_program(
        "predict", str(run), str(tmp_path / "noise.png"), "--check-likeness", "--output", str(output)
    )
    assert (status, err) == (0, "")
    (likeness,) = pd.read_csv(output)["likeness"]
    assert ("1 of 1 images are unlike those that the model has" in out.replace("\n", " ")) == (likeness <= 0.05)
    assert (run / "features.npz").is_file()


def test_predict_reports_user_errors(run_program, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for name, message in (("nowhere.png", "does not exist"), ("empty", "without any"), ("broken.png", "broken.png")):
        output = tmp_path / "out.csv"
        status, _, err = run_program("predict", str(trained / "run"), str(tmp_path / name), "--output", str(output))
        assert status == 2
        assert message in err
        assert err.count("\n") == 1
        assert not output.exists()


def test_export_from_a_run(run_program, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_program("export", str(trained / "run"), "--format", "keras")[0] == 0
    assert (tmp_path / "saved_models" / "run" / "model.keras").is_file()
    card = (tmp_path / "saved_models" / "run" / "README.md").read_text()
    assert "| AUC | " in card
    assert run_program("evaluate", "run")[0] == 0
    status, _, err = run_program("export", str(trained / "exported" / "run"))
    assert status == 2
    assert "exported already" in err


def test_import_reports_missing_arguments(run_program, tmp_path):
    status, _, err = run_program("import", str(tmp_path / "w.npz"), "--model", "lnn", "--output", str(tmp_path / "o"))
    assert status == 2
    assert "Weights must be an existing .npz file" in err
    status, _, err = run_program("import", str(tmp_path / "w.npz"), "--output", str(tmp_path / "o"))
    assert status == 2
    assert "model" in err
    assert not (tmp_path / "o").exists()


def test_public_names_are_imported_on_first_use():
    assert keras_lnn.train is train_model
    assert set(keras_lnn.__all__) <= set(dir(keras_lnn))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = keras_lnn.nothing
