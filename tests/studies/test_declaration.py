"""What a study declares, and how it is laid out into runs."""

from pathlib import Path

import pytest

from keras_lnn.errors import InputError
from keras_lnn.registry import model_names
from keras_lnn.studies.declaration import Study, built_in_studies, choose, lay_out, load_study

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


def test_the_term_paper_is_whole():
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


def test_runs_are_laid_out_seed_by_seed(study):
    runs = lay_out(study, Path("there"))
    assert [(run.network, run.config.seed) for run in runs] == [("dnn", 0), ("wide", 0), ("dnn", 1), ("wide", 1)]
    wide = runs[1].config
    assert (wide.model, wide.model_args, wide.batch_size, wide.keep) == ("dnn", {"units": 20}, 8, "last")
    assert wide.run_dir == Path("there/tiny-stripes/wide/seed-0")
    assert {run.config.split_seed for run in runs} == {0}
    assert len({run.folder for run in runs}) == 4
    assert runs[1].name == "wide on tiny-stripes, seed 0"


def test_what_is_asked_for_is_chosen(study):
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
        ("{epochs: 3, keep: last}", "{seed: 3}", "must leave seed to the study, which published does not"),
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


def test_a_wrong_field_of_a_network_is_told(study):
    broken = Study(**study.model_dump() | {"networks": {"dnn": {"epoch": 3}}})
    with pytest.raises(InputError, match=r"There is no field .epoch.\. Did you mean epochs"):
        lay_out(broken, Path("x"))


def test_an_unknown_study_lists_those_that_there_are(tmp_path):
    with pytest.raises(InputError, match="There is no study 'term'"):
        load_study("term")
    with pytest.raises(InputError, match=r"must be a YAML file that can be read. Received: .*nowhere\.yaml"):
        load_study(str(tmp_path / "nowhere.yaml"))
