"""Declarations of studies, and their runs."""

from pathlib import Path

import pytest

from keras_lnn.data.catalog import require_data
from keras_lnn.errors import InputError
from keras_lnn.registry import model_names
from keras_lnn.studies.declaration import Study, built_in_studies, choose, lay_out, load_study, path_name
from keras_lnn.studies.grid import parse_assignments
from keras_lnn.studies.memory import recall, remember
from keras_lnn.training.protocol import complete_config

SMALL = """
title: Two networks
data: [tiny-stripes]
seeds: 2
protocols:
  published: {epochs: 3, keep: last}
  corrected: {epochs: 3, keep: best}
networks:
  dnn: {}
  wide: {model: dnn, model_args: {units: 20}, batch_size: 8}
published:
  tiny-stripes:
    dnn: {auc: 0.9, accuracy: 0.8}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return load_study(str(path))


def test_the_term_paper_study_is_complete():
    study = load_study("term-paper")
    assert "term-paper" in built_in_studies()
    assert study.data == ("adrenalmnist3d", "nodulemnist3d", "vesselmnist3d")
    assert len(study.parameters) == 30
    assert set(study.parameters) <= set(study.networks) & set(model_names())
    for data in study.data:
        assert set(study.published[data]) == set(study.parameters)
        assert all(0.4 < value < 1 for figures in study.published[data].values() for value in figures.values())
    best = max(study.published["adrenalmnist3d"].items(), key=lambda item: item[1]["auc"])
    assert best == ("CNNExp3N6", {"auc": 0.863, "accuracy": 0.818})
    for run in lay_out(study, Path("here"), seeds=1):
        assert run.config.model in model_names()


@pytest.mark.parametrize("name", built_in_studies())
def test_built_in_studies_name_existing_models_and_data(name):
    study = load_study(name)
    for protocol, fields in study.protocols.items():
        runs = lay_out(study, Path("here"), seeds=1, protocol=protocol)
        assert {run.base for run in runs} == set(fields.networks or study.networks)
        for run in runs:
            require_data(run.config.data)
            complete = complete_config(run.config)
            assert complete.epochs >= 1
            assert complete.model in model_names()


def test_requested_runs_are_remembered(study, tmp_path):
    first = lay_out(study, tmp_path, networks=["dnn"], seeds=4, grid={"time_budget": ["10m"]})
    second = lay_out(
        study, tmp_path, data=["breastmnist"], seeds=1, grid={"time_budget": ["20m"], "learning_rate": [1e-3]}
    )
    assert recall(study, tmp_path) == []
    for runs in (first, second, first):
        remember(tmp_path, runs)
    assert recall(study, tmp_path) == [*first, *second]
    # As it is laid out now: with other fields they are other runs.
    assert {run.config.epochs for run in recall(study, tmp_path, fields={"epochs": 7})} == {7}
    narrower = study.model_copy(update={"networks": {"wide": study.networks["wide"]}})
    assert recall(narrower, tmp_path) == [run for run in second if run.base == "wide"]
    (tmp_path / "asked.json").write_text("[1, {}]")
    assert recall(study, tmp_path) == []


def test_quick_mode_shortens_a_grid_of_epochs():
    study = Study(
        title="t", data=["tiny-stripes"], networks={"dnn": {}}, protocols={"p": {"grid": {"epochs": [20, 40]}}}
    )
    assert [run.config.epochs for run in lay_out(study, Path("x"), seeds=1)] == [20, 40]
    assert [run.config.epochs for run in lay_out(study, Path("x"), quick=True)] == [2, 2]


def test_a_study_has_its_own_split_seed(study):
    with pytest.raises(InputError, match=r"Received: split_seed"):
        lay_out(study, Path("x"), fields={"split_seed": 3})


def test_the_medmnist_benchmark_uses_the_published_schedule():
    run = lay_out(load_study("medmnist"), Path("here"), networks=["resnet18"], seeds=1)[0]
    config = complete_config(run.config)
    assert (config.epochs, config.batch_size, config.schedule, config.augmentation) == (100, 128, "steps", "none")
    assert config.weight_decay == 0
    assert config.early_stopping == 0
    assert config.keep == "best"


def test_runs_are_laid_out_seed_by_seed(study):
    runs = lay_out(study, Path("there"))
    assert [(run.network, run.config.seed) for run in runs] == [("dnn", 0), ("wide", 0), ("dnn", 1), ("wide", 1)]
    wide = runs[1].config
    assert (wide.model, wide.model_args, wide.batch_size, wide.keep) == ("dnn", {"units": 20}, 8, "last")
    assert wide.run_dir == Path("there/tiny-stripes/wide/seed-0")
    assert {run.config.split_seed for run in runs} == {0}
    assert len({run.folder for run in runs}) == 4
    assert runs[1].name == "wide on tiny-stripes, seed 0"


def test_requested_runs_are_selected(study):
    runs = lay_out(study, Path("x"), networks=["wide"], data=["breastmnist"], seeds=3, protocol="corrected")
    assert [run.config.seed for run in runs] == [0, 1, 2]
    assert {(run.network, run.config.data, run.config.keep) for run in runs} == {("wide", "breastmnist", "best")}
    quick = lay_out(study, Path("x"), quick=True, fields={"data_dir": Path("d")})
    assert [(run.config.epochs, run.config.seed, run.config.data_dir) for run in quick] == [(2, 0, Path("d"))] * 2
    assert choose("network", None, ["a", "b"]) == ["a", "b"]
    assert choose("network", ["b", "b"], ["a", "b"]) == ["b"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": ["widr"]}, r"The study has no network 'widr'\. Did you mean wide"),
        ({"protocol": "correct"}, r"The study has no protocol 'correct'\. Did you mean corrected"),
    ],
)
def test_an_unknown_name_lists_the_nearest(study, options, message):
    with pytest.raises(InputError, match=message):
        lay_out(study, Path("x"), **options)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: 2", "seeds: 0", "seeds must be greater than or equal to 1"),
        ("seeds: 2", "seed: 2", "There is no field 'seed'. Did you mean seeds"),
        ("{epochs: 3, keep: last}", "{seed: 3}", "must leave seed to the study, but published sets it"),
        ("title: Two networks", "", "title .*equired"),
        ("dnn: {}", "dnn: [", "must be YAML"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, old, new, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        load_study(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["..", ".", "", "...", "-.-", "é"])
def test_a_name_never_leads_out_of_the_folder_of_its_study(study, name):
    named = Study(**study.model_dump() | {"networks": {name: {"model": "dnn"}}})
    with pytest.raises(InputError, match=r"must contain letters or digits\. Received: "):
        lay_out(named, Path("x"))
    assert path_name("../../x") == "..-..-x"


def test_a_wrong_field_of_a_network_is_reported(study):
    broken = Study(**study.model_dump() | {"networks": {"dnn": {"epoch": 3}}})
    with pytest.raises(InputError, match=r"There is no field .epoch.\. Did you mean epochs"):
        lay_out(broken, Path("x"))


def test_an_unknown_study_lists_existing_ones(tmp_path):
    with pytest.raises(InputError, match="There is no study 'term'"):
        load_study("term")
    with pytest.raises(InputError, match=r"must be a YAML file that can be read. Received: .*nowhere\.yaml"):
        load_study(str(tmp_path / "nowhere.yaml"))


GRID = """
title: A grid
data: [tiny-stripes]
seeds: 1
protocols:
  rates:
    epochs: 3
    grid: {learning_rate: [1.0e-3, 2.5e-5], model_args.initialisation: [he-normal, framework-uniform]}
    networks: [alexnet]
    figures: [learning_rate, classes]
    note: Told below.
  plain: {epochs: 2}
networks:
  alexnet: {model_args: {dropout: 0.1}}
  resnet18: {}
"""


@pytest.fixture
def grid_study(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(GRID)
    return load_study(str(path))


def test_a_grid_multiplies_networks_with_descriptive_names(grid_study):
    runs = lay_out(grid_study, Path("x"))
    assert [run.network for run in runs] == [
        "alexnet 1e-3 he-normal",
        "alexnet 1e-3 framework-uniform",
        "alexnet 2.5e-5 he-normal",
        "alexnet 2.5e-5 framework-uniform",
    ]
    config = runs[2].config
    assert (config.model, config.learning_rate, config.epochs) == ("alexnet", 2.5e-5, 3)
    assert config.model_args == {"dropout": 0.1, "initialisation": "he-normal"}
    assert config.run_dir == Path("x/tiny-stripes/alexnet-2.5e-5-he-normal/seed-0")
    assert runs[2].base == "alexnet"
    assert runs[2].point.values == {"learning_rate": 2.5e-5, "model_args.initialisation": "he-normal"}
    assert [run.network for run in lay_out(grid_study, Path("x"), protocol="plain")] == ["alexnet", "resnet18"]


def test_values_of_a_grid_and_fields_can_be_given(grid_study):
    grid = {"learning_rate": [1e-4], "time_budget": ["30s", "60s"], "batch_size": [8]}
    fields = {"size": 32, "model_args": {"dropout": 0.2}}
    runs = lay_out(grid_study, Path("x"), networks=["resnet18"], grid=grid, fields=fields)
    assert runs[1].network == "resnet18 1e-4 he-normal 60s batch size 8"
    assert (len(runs), runs[1].config.time_budget, runs[1].config.size) == (4, "60s", 32)
    assert runs[1].config.model_args == {"dropout": 0.2, "initialisation": "he-normal"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("figures: [learning_rate", "figures: [rates", "must draw figures along fields of the grid, learning_rate"),
        ("networks: [alexnet]", "networks: [alexnett]", "must have alexnett, which rates names, among its networks"),
        ("{learning_rate: [1.0e-3, 2.5e-5],", "{learning_rate: [],", "at least 1 item"),
        (
            "model_args.initialisation: [he-normal, framework-uniform]",
            "seed: [1]",
            "must leave seed to the study, but rates sets it",
        ),
        ("model_args.init", "other.init", r"model_args.NAME in a grid, but other.initialisation is neither"),
    ],
)
def test_a_wrong_grid_is_one_line(tmp_path, old, new, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(GRID.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        load_study(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": {"learning_rates": [1.0]}}, "There is no field 'learning_rates'. Did you mean learning_rate"),
        ({"grid": {"seed": [1, 2]}}, "A study sets data, .*seed, .* Received: seed"),
        ({"fields": {"run_dir": "x"}}, "A study sets .* Received: run_dir"),
        ({"grid": {"learning_rate": [1e-3, 0.001]}}, "must have a different name. Received: 'alexnet 1e-3 he-normal'"),
    ],
)
def test_a_wrong_value_for_the_grid_is_reported(grid_study, options, message):
    with pytest.raises(InputError, match=message):
        lay_out(grid_study, Path("x"), **options)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, {}),
        (
            "time_budget=30s,1.5m learning_rate=1e-3,1e-4",
            {"time_budget": ["30s", "1.5m"], "learning_rate": [1e-3, 1e-4]},
        ),
        (
            "model_args.initialisation=he-normal size=32 xla=yes",
            {"model_args.initialisation": ["he-normal"], "size": [32], "xla": [True]},
        ),
    ],
)
def test_assignments_are_read(text, found):
    assert parse_assignments(text, "--grid") == found


@pytest.mark.parametrize("text", ["time_budget", "=3", "a=", "a=1 a=2"])
def test_a_wrong_assignment_is_reported(text):
    with pytest.raises(InputError, match=r"--grid must be FIELD=VALUE,VALUE .* Received: '"):
        parse_assignments(text, "--grid")


def test_the_liver_study_is_complete():
    study = load_study("liver")
    assert "liver" in built_in_studies()
    runs = {name: lay_out(study, Path("here"), protocol=name, seeds=1) for name in study.protocols}
    assert {name: len(found) for name, found in runs.items()} == {
        "published": 14,
        "rates": 42,
        "fixed-time": 36,
        "fixed-time-published": 36,
        "classes": 1,
    }
    published, of_these_images = study.published_for("phantom-liver-classes")
    assert not of_these_images
    names = {run.network for name in ("published", "fixed-time-published") for run in runs[name]}
    assert set(published) <= names
    assert len(published) == 7 + 36
    assert published["resnet50 1e-5 20m"] == {"accuracy": 0.7824}
    assert all(0.5 < figures["accuracy"] < 1 for figures in published.values())
    run = runs["classes"][0].config
    assert (run.model, run.epochs, run.learning_rate) == ("alexnet", 30, 1e-5)
    assert study.parameters["resnet34"] == 21_279_939
