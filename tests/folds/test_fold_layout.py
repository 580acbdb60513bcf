"""The runs of a cross-validation in their folders, and what its options exclude."""

from pathlib import Path

import pytest

from keras_lnn.cli.train import main
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.options import FoldOptions
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.folds.layout import begin_folder, lay_out_folds, name_folder, require_folder
from keras_lnn.studies.declaration import Study, lay_out


def test_the_folds_of_one_repeat_share_a_partition_and_repeats_have_others(tmp_path):
    config = TrainConfig(model="dnn", seed=3, split_seed=10, run_dir=tmp_path)
    runs = lay_out_folds(config, FoldOptions(folds=3, repeats=2))
    assert [run.place for run in runs] == [f"repeat-{r}/fold-{k}" for r in (1, 2) for k in (1, 2, 3)]
    assert [(run.config.fold, run.config.seed, run.config.split_seed) for run in runs] == [
        (f"{k}/3", 3 + r, 10 + r) for r in (0, 1) for k in (1, 2, 3)
    ]
    assert runs[4].name == "repeat 2, fold 2/3"
    assert {run.config.export for run in runs} == {"none"}
    single = lay_out_folds(config, FoldOptions(folds=4))
    assert [run.folder for run in single] == [tmp_path / f"fold-{k}" for k in (1, 2, 3, 4)]


def test_the_record_of_a_cross_validation_lays_out_the_same_runs(tmp_path):
    config = TrainConfig(model="dnn", model_args={"units": 4}, epochs=3, run_dir=tmp_path)
    options = FoldOptions(folds=3)
    begin_folder(tmp_path, config, options)
    values = read_yaml(tmp_path / "folds.yaml")
    again = FoldOptions(**{name: values.pop(name) for name in ("folds", "repeats")})
    assert lay_out_folds(TrainConfig.create(values), again) == lay_out_folds(config, options)


@pytest.mark.parametrize("begun", [1, 2])
def test_more_repeats_go_on_with_the_finished_ones(tmp_path, begun):
    config = TrainConfig(model="dnn", seed=3, run_dir=tmp_path)
    first = lay_out_folds(config, FoldOptions(folds=3, repeats=begun))
    begin_folder(tmp_path, config, FoldOptions(folds=3, repeats=begun))
    for run in first:
        run.folder.mkdir(parents=True)
    (tmp_path / "folds.json").write_text("{}")
    more = FoldOptions(folds=3, repeats=3)
    runs = lay_out_folds(config, more)
    # The same folders and configurations, by which finished runs are known.
    assert [(run.folder, run.config) for run in runs[: 3 * begun]] == [(run.folder, run.config) for run in first]
    places = [f"repeat-{repeat}/fold-{fold}" for repeat in (1, 2, 3) for fold in (1, 2, 3)]
    places[:3] = ["fold-1", "fold-2", "fold-3"] if begun == 1 else places[:3]
    assert [run.place for run in runs] == places
    assert len({run.config.seed for run in runs}) == 3
    begin_folder(tmp_path, config, more)
    assert read_yaml(tmp_path / "folds.yaml")["repeats"] == 3
    assert not (tmp_path / "folds.json").exists()
    for other in (FoldOptions(folds=3, repeats=2), FoldOptions(folds=4, repeats=3)):
        with pytest.raises(InputError, match="or with more repeats"):
            begin_folder(tmp_path, config, other)


def test_the_same_command_finds_its_folder_again():
    config = TrainConfig(model="dnn", data="folder:/somewhere/my images/")
    assert name_folder(config, 5) == Path("runs/dnn-my-images-5-folds")
    assert name_folder(TrainConfig(data="table:x/labels.csv"), 3) == Path("runs/lnn-labels-3-folds")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "2"], "folds must be greater than or equal to 3"),
        (["--folds", "5", "--no-test"], "--folds tests each fold once. Received: --no-test"),
        (["--folds", "5", "--fold", "1/5"], "Received: --fold 1/5"),
        (["--folds", "5", "--stop-after", "2"], "Received: --stop-after 2"),
        (["--folds", "5", "--export", "keras"], "--folds exports no model"),
        (["--repeats", "2"], "--repeats is for cross-validation. Received: no --folds"),
        (["--folds", "5", "--print-config"], "--folds is for cross-validation. Received: --print-config"),
        (["--fold", "6/5"], "fold must be one of 3 to 100 folds"),
    ],
)
def test_what_does_not_go_with_folds_is_one_line(options, message):
    with pytest.raises(InputError, match=message):
        main(options)


def test_a_study_has_no_grid_of_folds():
    study = Study(title="Small", data=["phantom-breast"], networks={"dnn": {}})
    with pytest.raises(InputError, match="folds are not for its grid"):
        lay_out(study, Path("x"), grid={"fold": ["1/5", "2/5"]})
    assert {run.config.fold for run in lay_out(study, Path("x"), fields={"fold": "1/5"})} == {"1/5"}


def test_the_folder_of_a_run_is_not_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("model: lnn")
    with pytest.raises(InputError, match=r"--run-dir must not name a folder .* with config.yaml"):
        require_folder(tmp_path)
