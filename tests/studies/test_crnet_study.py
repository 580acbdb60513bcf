"""Studies with a reference: CRNet's heads on a set of TensorFlow Datasets, and shuffled splits of an image folder."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tfds_samples import define_builder, image_features, prepare

from keras_lnn.config import TrainConfig
from keras_lnn.studies.declaration import lay_out, load_study

ROOT = Path(__file__).parents[2]
STUDY = """
title: Small networks
data: ["folder:images"]
seeds: 2
reference: dnn
shuffled_splits: true
protocols:
  published: {epochs: 2, batch_size: 16, size: 16}
networks:
  dnn: {model_args: {units: 4, second_units: 4}}
  wide: {model: dnn, model_args: {units: 8, second_units: 4}}
"""


def run(folder, *options):
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    variables.pop("KERAS_BACKEND", None)
    arguments = [sys.executable, "-m", "keras_lnn", "study", *options, "--study-dir", str(folder / "study")]
    done = subprocess.run(arguments, env=variables, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_study_has_every_published_head_and_both_settings():
    study = load_study("crnet")
    assert len(study.networks) == 18
    assert study.reference == "crnet-1fc"
    first, second = (lay_out(study, Path("here"), seeds=1, protocol=f"setting-{number}")[0].config for number in (1, 2))
    assert (first.batch_size, first.learning_rate, first.loss, first.epochs) == (64, 1e-4, "bce-dice", 360)
    assert (second.batch_size, second.learning_rate, second.loss) == (20, 2.5e-5, "mean-squared-error")
    assert {config.schedule for config in (first, second)} == {"cosine-restarts"}
    assert {(config.monitor, config.augmentation) for config in (first, second)} == {("val_score", "crnet")}
    seeds = [run.config.split_seed for run in lay_out(study, Path("here"), networks=["crnet-1fc"], seeds=7)]
    assert seeds == list(range(7))


def test_model_arguments_of_protocol_and_network_are_joined():
    study = load_study("crnet").model_copy(update={"networks": {"crnet-1fc": {"model_args": {"dropout": 0.2}}}})
    (run,) = lay_out(study, Path("here"), seeds=1, protocol="short")
    assert run.config.model_args == {"resize": 56, "dropout": 0.2}


@pytest.mark.slow
def test_crnet_heads_run_on_tensorflow_datasets(tmp_path):
    def generate(split, count):
        for number in range(count):
            pixels = np.full((20, 20, 1), 60 + 100 * (number % 3 == 0) + number % 40, np.uint8)
            yield f"{split}{number}", {"picture": pixels, "kind": number % 3, "remark": ""}

    splits = {"train": 60, "test": 30}
    prepare(define_builder("SmallFashion", image_features((20, 20, 1)), splits, generate), tmp_path / "sets")
    options = ["--models", "crnet-1fc,crnet-3fc32", "--protocol", "short", "--quick"]
    printed = run(tmp_path, "crnet", "--data", "tfds:small_fashion", "--data-dir", str(tmp_path / "sets"), *options)
    assert "2 of 2 runs done, 0 failed" in printed
    differences = pd.read_csv(tmp_path / "study" / "differences.csv")
    assert list(differences["network"]) == ["crnet-3fc32"] * 2
    assert set(differences["reference"]) == {"crnet-1fc"}
    assert (tmp_path / "study" / "comparison-tfds-small_fashion" / "comparison.html").is_file()
    table = (tmp_path / "study" / "table.md").read_text()
    assert "minus crnet-1fc" in table
    assert "published" not in table.partition("\n")[2]


@pytest.mark.slow
def test_a_folder_is_split_differently_per_repetition(tmp_path):
    generator = np.random.default_rng(0)
    for name, brightness in (("healthy", 60), ("ill", 160)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(40):
            pixels = generator.normal(brightness, 40, (16, 16)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "small.yaml").write_text(STUDY)
    printed = run(tmp_path, "small.yaml")
    assert "4 of 4 runs done, 0 failed" in printed
    assert "from dnn" in printed
    folder = tmp_path / "study"
    results = pd.read_csv(folder / "results.csv")
    configs = [TrainConfig.from_yaml(Path(run) / "config.yaml") for run in results["run"]]
    assert [config.split_seed for config in configs] == list(results["seed"])
    tested = {
        tuple(pd.read_csv(Path(run) / "predictions.csv").query("split == 'test'")["file"])
        for run in results[results["network"] == "dnn"]["run"]
    }
    assert len(tested) == 2
    differences = pd.read_csv(folder / "differences.csv")
    assert set(differences["test"]) == {"corrected resampled t"}
    values = results.pivot_table(index="seed", columns="network", values="accuracy")
    found = differences.set_index("metric").loc["accuracy", "difference"]
    assert abs(found - (values["wide"] - values["dnn"]).mean()) < 1e-9
    assert not list(folder.glob("comparison*"))
    assert "other seeds and splits" in (folder / "table.txt").read_text()
