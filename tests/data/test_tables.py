"""Loading tables of labels: which columns are found, which samples stay together, and what is reported."""

import shutil

import numpy as np
import pytest
from PIL import Image
from table_samples import load, sizes, warnings_of, write_classes, write_images, write_table

from keras_lnn.data import load_data
from keras_lnn.data.decode import decoded_cache
from keras_lnn.data.options import OwnImages
from keras_lnn.errors import InputError
from keras_lnn.saved.signature import read_signature
from keras_lnn.training.loop import train as train_model


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def assert_consistent(data, label_of):
    for split in data.splits.values():
        images = split.images[np.arange(len(split))]
        assert images.dtype == np.uint8
        for row, name in enumerate(split.names):
            number = int(name.rpartition("/")[2][:3])
            assert (images[row] == number).all()
            expected = label_of(number)
            if isinstance(expected, str):
                assert data.class_names[split.labels[row]] == expected
            else:
                assert {data.class_names[k] for k in np.flatnonzero(split.labels[row])} == expected


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header", [("file", "label"), ("Image Index", "Diagnosis"), ("FILE_NAME", "Finding Labels"), ("path", "dx")]
)
def test_the_class_column_is_found(tmp_path, separator, header):
    data = load(write_classes(tmp_path, header=header, separator=separator))
    assert (data.task, data.class_names) == ("binary", ("benign", "malignant"))
    assert data.image_shape == (2, 2, 1)
    assert sizes(data) == {"train": 14, "val": 2, "test": 4}
    assert data.splits["train"].labels.dtype == np.int64
    assert_consistent(data, lambda k: "malignant" if k % 2 else "benign")


def test_the_seed_determines_the_splits_and_the_catalog_has_the_name(tmp_path):
    table = write_classes(tmp_path)
    names = [load(table, seed=seed).splits["test"].names for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    data = load_data(f"table:{table}", size=8, own=OwnImages(image_dir=tmp_path / "images"))
    assert data.name == f"table:{table}"
    assert data.image_shape == (8, 8, 1)


def test_binary_columns_are_labels_and_others_are_reported(tmp_path):
    write_images(tmp_path / "images", 40)
    rows = [(k, f"{k:03}.png", k % 2, f"{k % 3 == 0:d}.0", str(k % 5 == 0), 30 + k) for k in range(40)]
    table = write_table(tmp_path / "labels.csv", ("", "image", "edema", "mass", "hernia", "age"), rows)
    data = load(table)
    assert (data.task, data.class_names) == ("multi-label", ("edema", "mass", "hernia"))
    assert data.splits["train"].labels.dtype == np.uint8

    def labels_of(k):
        return {
            name for name, divisor, rest in (("edema", 2, 1), ("mass", 3, 0), ("hernia", 5, 0)) if k % divisor == rest
        }

    assert_consistent(data, labels_of)
    assert "columns ignored: (no name), age" in data.check.notes
    assert "columns used: file: image; labels: edema, mass, hernia" in data.check.notes
    assert sum(data.check.counts[split]["mass"] for split in data.splits) == 14
    assert load(table, label_columns=("mass", "edema")).class_names == ("mass", "edema")


def test_one_binary_column_gives_a_binary_task(tmp_path):
    write_images(tmp_path / "images", 20)
    table = write_table(tmp_path / "t.csv", ("file", "mass"), [(f"{k:03}.png", k % 2) for k in range(20)])
    data = load(table)
    assert (data.task, data.class_names) == ("binary", ("no mass", "mass"))
    assert_consistent(data, lambda k: "mass" if k % 2 else "no mass")


def test_joined_names_are_several_labels(tmp_path):
    write_images(tmp_path / "images", 40)

    def labels_of(k):
        return {name for name, divisor in (("Mass", 3), ("Edema", 4)) if k % divisor == 0}

    rows = [(f"{k:03}.png", "|".join(labels_of(k)) or ("No Finding" if k % 2 else "")) for k in range(40)]
    data = load(write_table(tmp_path / "t.csv", ("Image Index", "Finding Labels"), rows))
    assert (data.task, data.class_names) == ("multi-label", ("Edema", "Mass"))
    assert_consistent(data, labels_of)


@pytest.mark.parametrize("train_name", ["train", "Training"])
def test_a_split_column_is_kept_and_completed(tmp_path, train_name):
    def split_of(k):
        return "TEST" if k >= 24 else train_name

    table = write_classes(tmp_path, 32, ("file", "label", "split"), lambda k: (split_of(k),))
    data = load(table)
    assert sorted(data.splits["test"].names) == [f"{k:03}.png" for k in range(24, 32)]
    assert sizes(data) == {"train": 21, "val": 3, "test": 8}  # an eighth of each class of 12, rounded up or down
    assert_consistent(data, lambda k: "malignant" if k % 2 else "benign")


@pytest.mark.parametrize("column", ["group", "patient", "Patient ID", "patient_id"])
@pytest.mark.parametrize("multi_label", [False, True])
def test_groups_stay_in_one_split(tmp_path, column, multi_label):
    write_images(tmp_path / "images", 90)
    rows = []
    for k in range(90):
        patient = k // 3
        label = "|".join(n for n, d in (("a", 2), ("b", 3)) if patient % d == 0) if multi_label else "ab"[patient % 2]
        rows.append((f"{k:03}.png", label, f"p{patient}"))
    data = load(write_table(tmp_path / "t.csv", ("file", "labels", column), rows))
    assert data.task == ("multi-label" if multi_label else "binary")
    patients = [{int(name[:3]) // 3 for name in split.names} for split in data.splits.values()]
    assert sum(map(len, patients)) == 30
    assert len(set().union(*patients)) == 30
    assert np.abs(np.array(list(sizes(data).values())) - [63, 9, 18]).max() <= 6


def test_groups_stay_together_when_val_is_taken_from_train(tmp_path):
    table = write_classes(
        tmp_path, 60, ("file", "label", "split", "group"), lambda k: ("test" if k >= 48 else "train", k // 4)
    )
    data = load(table)
    groups = {name: {int(file[:3]) // 4 for file in split.names} for name, split in data.splits.items()}
    assert groups["test"] == set(range(12, 15))
    assert not groups["train"] & groups["val"]
    assert groups["val"]


def test_files_are_found_by_path_by_name_and_without_suffix(tmp_path):
    write_images(tmp_path / "images" / "part 1", 10)
    write_images(tmp_path / "outside", 14)
    names = ["000", "part 1/001.png", "part 1\\002.png", "003.png"]
    names += [f"./part 1/{k:03}.png" for k in range(4, 9)]
    names += [str(tmp_path / "outside" / f"{k:03}.png") for k in range(9, 14)]
    table = write_table(tmp_path / "t.csv", ("file", "label"), [(name, "ab"[k % 2]) for k, name in enumerate(names)])
    data = load(table)
    assert sum(sizes(data).values()) == 14
    assert "1 image files in the folder are not in the table" in data.check.notes
    for split in data.splits.values():
        for row, name in enumerate(split.names):
            assert (split.images[row] == names.index(name)).all()


def test_tables_may_have_a_byte_order_mark_blank_lines_and_quotes(tmp_path):
    table = write_classes(tmp_path)
    lines = table.read_text().splitlines()
    lines[1:] = [f'"{line.replace(",", chr(34) + "," + chr(34))}"' for line in lines[1:]]
    table.write_text("\ufeff" + "\r\n\r\n".join(lines) + "\n\n", encoding="utf-8", newline="")
    assert sum(sizes(load(table)).values()) == 20


def test_the_second_load_uses_the_cache_until_files_change(tmp_path, monkeypatch):
    table = write_classes(tmp_path)
    first = load(table)

    def refuse(*_, **__):
        raise AssertionError("decoded a second time")

    with monkeypatch.context() as patched:
        patched.setattr(decoded_cache, "decode_to_file", refuse)
        again = load(table, seed=3)
        assert again.checksum == first.checksum
        lines = table.read_text().splitlines()
        table.write_text("\n".join([lines[0], *reversed(lines[1:])]))
        assert load(table).checksum == first.checksum
        for changes in ({"side": 3}, {"fit": "pad"}, {"window": (1.0, 2.0)}):
            with pytest.raises(AssertionError, match="second time"):
                load(table, **changes)
    Image.fromarray(np.full((6, 5), 200, np.uint8)).save(tmp_path / "images" / "000.png")
    changed = load(table)
    assert changed.checksum != first.checksum
    split = next(split for split in changed.splits.values() if "000.png" in split.names)
    assert (split.images[split.names.index("000.png")] == 200).all()
    table.write_text(table.read_text().replace("001.png,malignant", "001.png,benign"))
    assert load(table).checksum != changed.checksum


def test_an_interrupted_first_load_leaves_no_valid_cache(tmp_path):
    table = write_classes(tmp_path)
    load(table)
    (facts,) = (tmp_path / "cache").rglob("facts.json")
    for content in ("", "{}", '{"faults": 3, "brightest": null}'):
        facts.write_text(content)
        assert_consistent(load(table), lambda k: "malignant" if k % 2 else "benign")
    facts.unlink()
    (tmp_path / "cache").rglob("images.npy").__next__().write_bytes(b"rubbish")
    assert_consistent(load(table), lambda k: "malignant" if k % 2 else "benign")


def test_a_damaged_cache_is_made_again(tmp_path):
    table = write_classes(tmp_path)
    load(table)
    (images,) = (tmp_path / "cache").rglob("images.npy")
    whole = images.read_bytes()
    others = (b"", whole[:-3], bytes(len(whole)), whole[:6] + b"\xff" * 90 + whole[96:], whole[:-20] + bytes(20))
    for content in others:
        images.write_bytes(content)
        assert_consistent(load(table), lambda k: "malignant" if k % 2 else "benign")


def test_a_cache_copied_to_another_place_is_valid(tmp_path, monkeypatch):
    table = write_classes(tmp_path)
    load(table)
    shutil.copytree(tmp_path / "cache", tmp_path / "other", copy_function=shutil.copyfile)
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(decoded_cache, "decode_to_file", None)
    assert_consistent(load(table), lambda k: "malignant" if k % 2 else "benign")


def test_bad_files_are_named_together_or_skipped(tmp_path):
    table = write_classes(tmp_path, 30)
    folder = tmp_path / "images"
    (folder / "003.png").unlink()
    (folder / "004.png").write_text("a text")
    (folder / "005.png").write_bytes((folder / "006.png").read_bytes()[:50])
    (folder / "007.png").write_bytes(b"")
    for _ in range(2):  # from the files and from the cache
        with pytest.raises(InputError) as caught:
            load(table)
        message = str(caught.value)
        assert "Received: 4 of 30" in message
        for part in ("003.png (missing)", "004.png (not an image)", "005.png (truncated)", "007.png (not an image)"):
            assert part in message
        assert "--skip-bad" in message
    data = load(table, skip_bad=True)
    assert sum(sizes(data).values()) == 26
    assert_consistent(data, lambda k: "malignant" if k % 2 else "benign")
    (warning,) = warnings_of(data)
    assert warning.startswith("left out 4 of 30 files: 003.png (missing), ")


def test_duplicates_across_splits_are_named(tmp_path):
    table = write_classes(tmp_path, 24, ("file", "label", "split"), lambda k: (("train", "val", "test")[k // 2 % 3],))
    folder = tmp_path / "images"
    (folder / "004.png").write_bytes((folder / "000.png").read_bytes())
    (folder / "006.png").write_bytes((folder / "001.png").read_bytes())  # both in train
    warning, contradiction = warnings_of(load(table))
    assert contradiction == "1 pair of identical images has different labels: 001.png (malignant) = 006.png (benign)"
    assert warning.startswith("1 pair of identical images is in two splits")
    assert warning.endswith(": 000.png (train) = 004.png (test)")


def test_a_label_without_positives_in_a_split_is_a_warning(tmp_path):
    write_images(tmp_path / "images", 30)
    rows = [(f"{k:03}.png", k % 2, int(k == 0), "train" if k < 20 else "val" if k < 24 else "test") for k in range(30)]
    data = load(write_table(tmp_path / "t.csv", ("file", "mass", "hernia", "split"), rows))
    assert [warning.partition(":")[0] for warning in data.check.warnings] == [
        "no image of val has hernia",
        "no image of test has hernia",
    ]


def test_a_file_in_two_equal_rows_counts_once(tmp_path):
    table = write_classes(tmp_path)
    table.write_text(table.read_text() + "./000.png,benign\n")
    data = load(table)
    assert sum(sizes(data).values()) == 20
    assert warnings_of(data) == ("rows that name a file again were left out: ./000.png (line 22)",)


def test_dark_16_bit_files_are_a_warning_until_there_is_a_window(tmp_path):
    table = write_classes(tmp_path)
    for k in range(20):
        values = np.full((4, 4), 1000 + k * 100, np.uint16)
        Image.fromarray(values).save(tmp_path / "images" / f"{k:03}.png")
    for _ in range(2):
        (warning,) = warnings_of(load(table))
        assert "brightest value of all 16-bit files is 2900" in warning
        assert "--window 1450,2900" in warning
    data = load(table, window=(1450.0, 2900.0))
    assert not warnings_of(data)
    for split in data.splits.values():
        for row, name in enumerate(split.names):
            assert (split.images[row] == round((1000 + int(name[:3]) * 100) / 2900 * 255)).all()


def test_pad_keeps_the_aspect_ratio(tmp_path):
    table = write_classes(tmp_path)
    for k in range(20):
        Image.fromarray(np.full((4, 8), 200, np.uint8)).save(tmp_path / "images" / f"{k:03}.png")
    expected = np.zeros((8, 8), np.uint8)
    expected[2:6] = 200
    images = load(table, fit="pad", side=8).splits["train"].images
    assert all(np.array_equal(images[row][..., 0], expected) for row in range(len(images)))
    assert (load(table, side=8).splits["train"].images[0] == 200).all()


@pytest.mark.usefixtures("eager_models")
def test_a_run_on_a_table_end_to_end(tmp_path, capfd):
    from keras_lnn.config import TrainConfig
    from keras_lnn.saved.image_predictions import predict_files
    from keras_lnn.saved.predictor import load_predictor
    from keras_lnn.trained.evaluate import evaluate_model

    table = write_classes(tmp_path, 40, ("scan_name", "kind", "part"), lambda k: ("test" if k >= 30 else "train",))
    run_dir = tmp_path / "run"
    values = {
        "data": f"table:{table}",
        "image_dir": tmp_path / "images",
        "file_column": "scan_name",
        "label_columns": "kind",
        "split_column": "part",
        "fit": "pad",
        "window": "20,40",
        "size": 8,
        "model": "dnn",
        "epochs": 1,
        "run_dir": run_dir,
        "export_dir": tmp_path / "exported",
        "tensorboard": False,
        "explanations": False,
    }
    result = train_model(TrainConfig.create(values))
    output = capfd.readouterr().out
    assert "images per class and split" in output
    assert "10 images" in output
    signature = read_signature(tmp_path / "exported" / "run")
    assert (signature.own.fit, signature.own.window) == ("pad", (20.0, 40.0))
    assert signature.data == "table:labels.csv"
    again = evaluate_model(run_dir)
    assert again["test"]["auc"] == result.metrics["test"]["auc"]
    assert not any("has changed" in warning for warning in again["warnings"])

    # A file beside those of the table is read as they were: padded, and 16 bits through the window.
    Image.fromarray(np.full((4, 8), 40, np.uint16)).save(tmp_path / "new.png")
    ready = np.zeros((8, 8), np.uint8)
    ready[2:6] = 255
    Image.fromarray(ready).save(tmp_path / "ready.png")
    answers = predict_files(load_predictor(run_dir), [tmp_path / "new.png", tmp_path / "ready.png"])
    columns = [name for name in answers.columns if name.startswith("probability")]
    assert np.array_equal(answers[columns].iloc[0], answers[columns].iloc[1])
