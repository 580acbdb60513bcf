"""The picture and the table of images that are in two splits."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from keras_lnn.config import TrainConfig
from keras_lnn.data import load_data
from keras_lnn.errors import InputError
from keras_lnn.training.copies import draw_copies, show_copies


def draw_noise(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    return Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images in three splits, of which two are in two of them: one as it is and one compressed."""
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))
    root, seed = tmp_path / "set", 0
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        for name in ("benign", "malignant"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                seed += 1
                draw_noise(seed).save(root / split / name / f"{number}.png")
    draw_noise(2).save(root / "test" / "malignant" / "again.png")
    draw_noise(3).save(root / "val" / "benign" / "compressed.jpg", quality=85)
    return root


def test_copies_are_drawn_side_by_side_and_listed(folder, tmp_path):
    config = TrainConfig.create({"data": f"folder:{folder}", "size": 32})
    show_copies(config, tmp_path / "copies.png")
    with Image.open(tmp_path / "copies.png") as picture:
        assert picture.format == "PNG"
    table = pd.read_csv(tmp_path / "copies.csv")
    assert table["kind"].tolist() == ["identical", "nearly identical"]
    assert table["split"].tolist() == ["train", "train"]
    assert table["other split"].tolist() == ["test", "val"]
    assert [file.rpartition("/")[2] for file in table["other file"]] == ["again.png", "compressed.jpg"]
    assert table[["label", "other label"]].to_numpy().tolist() == [["benign", "malignant"], ["benign", "benign"]]
    show_copies(config, tmp_path / "copies.png")  # replaces its own files
    (tmp_path / "copies.csv").write_text("file,label\n")
    with pytest.raises(InputError, match=r"Only an earlier table of copies is replaced\. Received: .*copies.csv"):
        show_copies(config, tmp_path / "copies.png")


def test_the_pictures_and_captions_are_those_of_the_pairs(folder):
    data = load_data(f"folder:{folder}", size=32)
    figure = draw_copies(data, data.check.copies)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert len(pictures) == 4
    assert np.array_equal(pictures[0], pictures[1])
    assert 0 < np.abs(pictures[2].astype(int) - pictures[3]).mean() < 10
    captions = [axes.get_xlabel().replace("\n", " ") for axes in figure.axes]
    assert captions == ["1: train, benign", "1: test, malignant", "2: train, benign", "2: val, benign"]
    assert draw_copies(data, data.check.copies[1:]).axes[0].get_title() == "2.png"


def test_no_copies_and_other_data_are_said_in_one_line(folder, tmp_path, capsys):
    (folder / "test" / "malignant" / "again.png").unlink()
    (folder / "val" / "benign" / "compressed.jpg").unlink()
    show_copies(TrainConfig.create({"data": f"folder:{folder}", "size": 32}), tmp_path / "copies.png")
    assert "No two images in different splits look the same." in capsys.readouterr().out
    assert not (tmp_path / "copies.png").exists()
    with pytest.raises(InputError, match=r"--show-copies compares your own images.* Received: phantom-breast"):
        show_copies(TrainConfig.create({"data": "phantom-breast"}), tmp_path / "copies.png")
