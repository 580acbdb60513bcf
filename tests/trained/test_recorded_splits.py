"""A run's own splits, found again by the content of its images: evaluated, resumed and gone on from."""

import dataclasses
import io
import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import trial_models  # noqa: F401  registers the quick network
from conftest import run_models_eagerly
from recorded_samples import COLUMNS, draw_images, draw_table, read_rows, table_config, write_rows
from rich.console import Console

from keras_lnn.cli.evaluate import EvaluateCommand
from keras_lnn.comparing import load_runs
from keras_lnn.config import TrainConfig
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.runs.folder import RunFolder
from keras_lnn.saved.export import export_model
from keras_lnn.saved.signature import SAMPLES_FILE, SIGNATURE_FILE, read_signature
from keras_lnn.trained.evaluate import evaluate_model
from keras_lnn.trained.samples import LEARNED_DATA, OTHER_DATA
from keras_lnn.training.loop import resume, train

CONSOLE = Console(file=io.StringIO(), width=140, markup=False)
pytestmark = pytest.mark.usefixtures("eager_models")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, a folder of the same images by class, and a run on each."""
    place = tmp_path_factory.mktemp("learned")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KERAS_LNN_CACHE", str(place / "cache"))
        patched.setattr("keras_lnn.training.report._draw", lambda *_: None)
        run_models_eagerly(patched)
        table = draw_table(place / "data")
        train(table_config(table, place / "run"), CONSOLE)
        export_model(place / "run", place / "exported" / "keras", "keras")
        for name, label, _ in read_rows(table):
            folder = place / "classes" / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(table.parent / "images" / name, folder / name)
        options = dict.fromkeys(COLUMNS) | {"data": f"folder:{place / 'classes'}", "image_dir": None}
        options |= {"epochs": 1, "export": "none"}
        train(table_config(table, place / "folder-run", **options), CONSOLE)
    return place


@pytest.fixture(autouse=True)
def _one_cache(place, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(place / "cache"))


@pytest.fixture
def moved(place, tmp_path):
    """The table and its images at another place, to be changed."""
    shutil.copytree(place / "data", tmp_path / "data")
    return tmp_path / "data" / "labels.csv"


def own_metrics(place, run="run"):
    return RunFolder(place / run).read_metrics()


def there(table):
    """Where the images of a table are."""
    return DataOptions(image_dir=table.parent / "images")


def test_the_model_has_memorised_its_training_images(place):
    found = {split: evaluate_model(place / "run", split=split) for split in ("train", "test")}
    assert found["train"]["train"]["accuracy"]["value"] > 0.9
    assert found["test"]["test"]["accuracy"]["value"] < 0.8


def test_intervals_of_a_run_are_over_its_patients(place):
    metrics = own_metrics(place)
    predictions = pd.read_csv(place / "run" / "predictions.csv")
    known = {name: case for name, _, case in read_rows(place / "data" / "labels.csv")}
    assert list(predictions["patient"]) == [known[name] for name in predictions["file"]]
    for split, rows in predictions.groupby("split"):
        counts = {"unit": "patients", "count": rows["patient"].nunique(), "images": len(rows), "samples": "images"}
        assert metrics["intervals_over"][split] == counts
    (run,) = load_runs([place / "run"])
    assert run.groups == tuple(predictions.loc[predictions["split"] == "test", "patient"])
    assert "patient" not in pd.read_csv(place / "folder-run" / "predictions.csv")


@pytest.mark.parametrize("way", ["absolute", "relative", "moved"])
def test_the_training_table_reproduces_the_metrics_of_the_run(place, moved, monkeypatch, way):
    monkeypatch.chdir(place)
    data = {"absolute": place / "data" / "labels.csv", "relative": "data/labels.csv", "moved": moved}[way]
    options = there(moved) if way == "moved" else DataOptions()
    for split in ("val", "test"):
        found = evaluate_model(place / "run", data=f"table:{data}", split=split, options=options)
        assert found[split] == own_metrics(place)[split]
        assert found["data_is"] == LEARNED_DATA


@pytest.mark.parametrize("model", ["run/best.keras", "exported/run", "exported/keras"])
def test_an_exported_model_knows_its_splits_and_columns(place, moved, model):
    write_rows(moved, read_rows(moved)[::-1])
    found = evaluate_model(place / model, data=f"table:{moved}", options=there(moved))
    expected = own_metrics(place)["test"]
    for name, estimate in found["test"].items():
        assert estimate == pytest.approx(expected[name], abs=1e-6)
    assert (found["data_is"], found["missing_images"]) == (LEARNED_DATA, 0)
    with pytest.raises(
        InputError, match=r"Received: table:labels\.csv .* which does not exist here\. Give their place with --data"
    ):
        evaluate_model(place / model)


def test_a_reordered_table_reproduces_the_metrics_of_the_run(place, moved):
    write_rows(moved, sorted(read_rows(moved), key=lambda row: (row[1], row[2])))
    found = evaluate_model(place / "run", data=f"table:{moved}", options=there(moved))
    assert found["test"] == own_metrics(place)["test"]
    assert not any("images" in warning and "learned" in warning for warning in found["warnings"])


def test_renamed_files_reproduce_the_metrics_of_the_run(place, moved):
    rows = read_rows(moved)
    names = {row[0]: f"{place_:02}-of-{row[0]}" for place_, row in enumerate(reversed(rows))}
    for old, new in names.items():
        (moved.parent / "images" / old).rename(moved.parent / "images" / new)
    write_rows(moved, [(names[name], *rest) for name, *rest in reversed(rows)])
    found = evaluate_model(place / "run", data=f"table:{moved}", options=there(moved))
    assert found["test"] == own_metrics(place)["test"]
    assert (found["new_images"], found["missing_images"]) == (0, 0)


@pytest.mark.parametrize("way", ["as before", "absolute"])
def test_added_images_do_not_change_the_splits_of_others(place, tmp_path, way):
    root = tmp_path / "classes"
    shutil.copytree(place / "classes", root)
    draw_images(root / "benign", 3, seed=5)  # 001.png and 003.png are new, 000.png and 002.png become other images
    (root / "malignant" / "001.png").rename(root / "malignant" / "zzz.png")
    run = tmp_path / "run"
    shutil.copytree(place / "folder-run", run)
    config = TrainConfig.from_yaml(run / "config.yaml").model_copy(update={"data": f"folder:{root}"})
    (run / "config.yaml").write_text(config.to_yaml())
    found = evaluate_model(run, data=None if way == "as before" else f"folder:{root}")
    table = pd.read_csv(run / "samples.csv", dtype=str)
    tested = set(table[table["split"] == "test"]["file"])
    lost = tested & {"benign/000.png", "benign/002.png"}
    assert (found["data_is"], found["images"]) == (LEARNED_DATA, len(tested - lost))
    assert (found["new_images"], found["missing_images"]) == (3, len(lost))
    assert "3 of 49 images were added to" in " ".join(found["warnings"])
    every = evaluate_model(run, data=f"folder:{root}", split="all")
    # One image of the test split is a copy of a training image.
    trained = set(table[table["split"] != "test"]["digest"])
    unseen = table[table["file"].isin(tested - lost) & ~table["digest"].isin(trained)]
    assert (every["images"], every["left_out_training_images"]) == (len(unseen) + 3, 46 - len(unseen))


def test_labels_that_have_changed_are_reported(place, moved):
    tested = set(pd.read_csv(place / "run" / "samples.csv").query("split == 'test'")["file"])
    other = {"benign": "malignant", "malignant": "benign"}
    chosen = sorted(tested)[:2]
    rows = [(name, other[label] if name in chosen else label, group) for name, label, group in read_rows(moved)]
    write_rows(moved, rows)
    found = evaluate_model(place / "run", data=f"table:{moved}", options=there(moved))
    assert found["images"] == len(tested)
    assert f"2 of {len(tested)} images had other labels" in " ".join(found["warnings"])


def external(folder, place, *, old=0, count=30, classes=("benigno", "maligno"), split=None):
    """Returns another hospital's table: its own columns and spellings, and some training images."""
    draw_images(folder, count, seed=9)
    known = pd.read_csv(place / "run" / "samples.csv", dtype=str).query("split != 'test'")["file"][:old]
    for name in known:
        shutil.copyfile(place / "data" / "images" / name, folder / f"seen-{name}")
    names = sorted(path.name for path in folder.glob("*.png"))
    rows = [(name, classes[row % 2], f"Q{row // 2}") for row, name in enumerate(names)]
    header = ("filename", "diagnosis", "patient")
    if split is not None:
        rows, header = [(*row, split(number)) for number, row in enumerate(rows)], (*header, "split")
    write_rows(folder / "other.csv", rows, header)
    return f"table:{folder / 'other.csv'}"


SPELLED = {"benigno": "benign", "maligno": "malignant"}


def test_other_data_are_measured_whole_without_training_images(place, tmp_path):
    data = external(tmp_path / "other", place, old=4)
    found = evaluate_model(place / "run", data=data, map_classes=SPELLED)
    assert (found["data_is"], found["split"], found["images"]) == (OTHER_DATA, "all", 30)
    assert found["left_out_training_images"] == 4
    assert found["patients"] == 15
    assert "4 of 34 images were in the model's training or validation" in " ".join(found["warnings"])
    exported = evaluate_model(place / "exported" / "run", data=data, map_classes=SPELLED)
    for name, estimate in exported["all"].items():
        assert estimate == pytest.approx(found["all"][name], abs=1e-6)
    with pytest.raises(InputError, match=r"has no splits of its own\. Choose --split all"):
        evaluate_model(place / "run", data=data, split="test", map_classes=SPELLED)
    with pytest.raises(InputError, match=r"Received: binary with benigno \| maligno. Match them with --map-cl"):
        evaluate_model(place / "run", data=data)


def test_other_data_can_be_measured_in_their_own_splits(place, tmp_path):
    data = external(tmp_path / "other", place, old=4, split=lambda number: "test" if number >= 20 else "train")
    found = evaluate_model(place / "run", data=data, split="test", map_classes=SPELLED)
    assert (found["data_is"], found["images"], found["left_out_training_images"]) == (OTHER_DATA, 10, 4)
    with pytest.raises(InputError, match=r"val of table:.* only train, test of its own"):
        evaluate_model(place / "run", data=data, split="val", map_classes=SPELLED)


def test_replaced_data_are_reported_as_other_data(place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    config = TrainConfig.from_yaml(run / "config.yaml")
    options = dict.fromkeys(COLUMNS) | {"image_dir": None}
    data = external(tmp_path / "other", place, old=2, classes=("benign", "malignant"))
    (run / "config.yaml").write_text(config.model_copy(update={"data": data, **options}).to_yaml())
    found = evaluate_model(run)
    assert (found["data_is"], found["split"], found["left_out_training_images"]) == (OTHER_DATA, "all", 2)
    assert "no longer contains the data that the model was trained on: 2 of 48 images" in found["warnings"][0]


def test_an_exported_model_names_no_files_patients_or_folders(place):
    with zipfile.ZipFile(place / "exported" / "keras" / "model.keras") as archive:
        texts = [archive.read(SAMPLES_FILE).decode(), archive.read(SIGNATURE_FILE).decode()]
    texts += [(place / "exported" / "run" / name).read_text() for name in (SAMPLES_FILE, SIGNATURE_FILE)]
    for text in texts:
        for private in (".png", "P1", str(place)):
            assert private not in text
    assert json.loads(texts[0]) == json.loads(texts[2])
    assert [len(entries) for entries in json.loads(texts[0]).values()] == list(
        pd.read_csv(place / "run" / "samples.csv")["split"].value_counts()[["train", "val", "test"]]
    )
    signature = read_signature(place / "exported" / "run")
    assert {name: getattr(signature.own, name) for name in COLUMNS} == COLUMNS


def continued(place, tmp_path, table):
    """The run, as if it had been killed just before its report, with its table at another place."""
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    (run / "metrics.json").unlink()
    config = TrainConfig.from_yaml(run / "config.yaml")
    changes = {"data": f"table:{table}", "image_dir": table.parent / "images", "export": "none", "run_dir": run}
    (run / "config.yaml").write_text(config.model_copy(update=changes).to_yaml())
    return run


@pytest.fixture
def no_pictures(monkeypatch):
    """Runs without drawing."""
    monkeypatch.setattr("keras_lnn.training.report._draw", lambda *_: None)


@pytest.mark.usefixtures("no_pictures")
def test_a_resumed_run_keeps_its_splits_where_its_table_was_sorted(place, moved, tmp_path):
    write_rows(moved, sorted(read_rows(moved), key=lambda row: (row[1], row[2])))
    run = continued(place, tmp_path, moved)
    assert resume(run, CONSOLE).metrics["test"] == own_metrics(place)["test"]
    assert (run / "predictions.csv").read_text() == (place / "run" / "predictions.csv").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"in which 1 of 48 images are missing or changed \(007\.png\) and 0 others were added"),
        ("changed", r"in which 1 of 48 images are missing or changed \(007\.png\) and 1 others were added"),
        ("added", r"in which 0 of 48 images are missing or changed and 1 others were added"),
        ("relabelled", "the data that it began with, sha256:"),
    ],
)
def test_a_run_on_other_images_is_not_resumed(place, moved, tmp_path, change, message):
    rows, images = read_rows(moved), moved.parent / "images"
    if change == "missing":
        rows = [row for row in rows if row[0] != "007.png"]
    elif change == "changed":
        (images / "007.png").unlink()
        draw_images(tmp_path / "new", 1, seed=3)
        (tmp_path / "new" / "000.png").rename(images / "007.png")
    elif change == "added":
        draw_images(tmp_path / "new", 1, seed=3)
        (tmp_path / "new" / "000.png").rename(images / "new.png")
        rows.append(("new.png", "benign", "P1"))
    else:
        rows = [(name, "benign" if name == "007.png" else label, group) for name, label, group in rows]
    write_rows(moved, rows)
    with pytest.raises(InputError, match=message) as caught:
        resume(continued(place, tmp_path, moved), CONSOLE)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_pictures")
def test_a_continued_run_keeps_its_splits(place, moved, tmp_path):
    write_rows(moved, read_rows(moved)[::-1])
    changes = {"start_from": place / "run", "epochs": 11, "export": "none"}
    again = train(table_config(moved, tmp_path / "run", **changes), CONSOLE)
    assert (again.folder.samples).read_text() == (place / "run" / "samples.csv").read_text()
    with pytest.raises(InputError, match="with another split_seed"):
        train(table_config(moved, tmp_path / "other", **changes, split_seed=5), CONSOLE)


def without_samples(place, run, name, data):
    """A run as the version before has left it, with its data at another place."""
    shutil.copytree(place / name, run)
    config = TrainConfig.from_yaml(run / "config.yaml").model_copy(update={"data": data, "run_dir": run})
    (run / "config.yaml").write_text(config.to_yaml())
    (run / "samples.csv").unlink()
    environment = json.loads((run / "environment.json").read_text())
    del environment["samples"]
    (run / "environment.json").write_text(json.dumps(environment))
    return run


def test_a_run_of_the_previous_version_keeps_its_metrics(place, tmp_path):
    root = tmp_path / "classes"
    shutil.copytree(place / "classes", root)
    shutil.copytree(place / "classes", tmp_path / "copy")
    run = without_samples(place, tmp_path / "run", "folder-run", f"folder:{root}")
    for data in (None, f"folder:{root}", f"folder:{tmp_path / 'copy'}"):
        found = evaluate_model(run, data=data)
        assert found["test"] == own_metrics(place, "folder-run")["test"]
        assert found["data_is"] == LEARNED_DATA
        assert not any("has changed" in warning for warning in found["warnings"])
    (root / "benign" / "000.png").unlink()
    for data in (None, f"folder:{root}"):
        assert "has changed since the model was trained" in " ".join(evaluate_model(run, data=data)["warnings"])
    data = external(tmp_path / "other", place, classes=("benign", "malignant"))
    found = evaluate_model(run, data=data)
    assert (found["data_is"], found["images"]) == (OTHER_DATA, 30)
    assert "has no list of its training images" in found["warnings"][0]


def test_unrecorded_splits_by_patient_are_not_recomputed(place, moved, tmp_path):
    run = without_samples(place, tmp_path / "run", "run", f"table:{moved}")
    with pytest.raises(InputError, match=r"must be recorded in the run.* Begin a new run"):
        evaluate_model(run, options=there(moved))


def test_evaluate_reads_data_by_all_options_of_training(place, tmp_path, capsys, monkeypatch):
    # The unit of a model's times follows from the model.
    names = {field.name for field in dataclasses.fields(OwnImages)} - {"model_unit"}
    names |= {"size", "data_dir", "accept_checksum"}
    for command in (EvaluateCommand, TrainConfig):
        assert names <= set(command.model_fields)
    from keras_lnn import __main__ as program

    data = external(tmp_path / "other", place)
    columns = ["--label-columns", "diagnosis", "--group-column", "patient", "--file-column", "filename"]
    spelled = ["--map-classes", "benigno=benign,maligno=malignant"]
    program.main(["evaluate", str(place / "run"), "--data", data, *columns, *spelled])
    assert f"on all images of {data} (other data): 30 images of 15 patients" in capsys.readouterr().out.replace(
        "\n", ""
    )
    program.main(["evaluate", str(place / "run"), "--json", "--split", "val", "--fit", "pad"])
    found = json.loads(capsys.readouterr().out)
    assert (found["data_is"], found["split"]) == (LEARNED_DATA, "val")
    assert (found["images"], found["val"]) == (found["patients"] * 3, own_metrics(place)["val"])


def test_damaged_samples_of_a_run_are_refused_in_one_line(place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    whole = (run / "samples.csv").read_text()
    for content in (whole[: len(whole) // 2], "", "a,b\n1,2\n", "\n".join(whole.splitlines()[:-3])):
        (run / "samples.csv").write_text(content)
        with pytest.raises(InputError, match="must be as it wrote them") as caught:
            evaluate_model(run)
        assert "\n" not in str(caught.value)
    (run / "samples.csv").unlink()
    with pytest.raises(
        InputError, match=r"must have its splits in samples\.csv.*best\.keras, which knows its samples too"
    ):
        evaluate_model(run)
    # A spreadsheet that has sorted them does no harm.
    lines = whole.splitlines()
    (run / "samples.csv").write_text("\n".join([lines[0], *sorted(lines[1:], key=lambda line: line.split(",")[-1])]))
    assert evaluate_model(run)["test"] == own_metrics(place)["test"]


def test_the_record_holds_every_sample(place):
    table = pd.read_csv(place / "run" / "samples.csv", dtype=str)
    rows = {name: (label, group) for name, label, group in read_rows(place / "data" / "labels.csv")}
    assert set(table["file"]) == set(rows)
    assert all(rows[name][1] == patient for name, patient in zip(table["file"], table["patient"], strict=True))
    predictions = pd.read_csv(place / "run" / "predictions.csv")
    for split in ("val", "test"):
        assert list(predictions[predictions["split"] == split]["file"]) == list(table[table["split"] == split]["file"])
    patients = table.groupby("split")["patient"].agg(set)
    assert not patients["train"] & patients["test"]
    assert np.unique(table["digest"]).size == 46
