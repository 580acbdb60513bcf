"""Which runs are seeds of one model, and the names of models."""

from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.comparing.groups import group_runs
from keras_lnn.comparing.runs import load_runs

TRUTH = make_truth(40, 25)


def write(path, seed=0, **config):
    return write_run(path, TRUTH, binary_probabilities(TRUTH, 1.0, seed), seed=seed, **config)


def names(folder):
    return {group.name: [run.config.seed for run in group.runs] for group in group_runs(load_runs([folder]))}


def test_runs_that_differ_only_in_seed_and_paths_are_one_model(tmp_path):
    write(tmp_path / "a", 1, export="none", tensorboard=False, data_dir="x", split_seed=4, deterministic=False)
    write(tmp_path / "b", 0, export_dir="y", start_from="p")
    write(tmp_path / "c", 2, export_dir="y", start_from="q")
    # A run of a version without calibration has the same as one that asked for none.
    write(tmp_path / "d", 2, calibration="none")
    groups = group_runs(load_runs([tmp_path]))
    # Going on from another run makes another model, from which does not.
    assert [[run.path.name for run in group.runs] for group in groups] == [["a", "d"], ["b", "c"]]
    assert [group.name for group in groups] == ["lnn start_from=false", "lnn start_from=true"]


def test_models_are_named_by_network_where_that_is_unique(tmp_path):
    for place, model in enumerate(["lnn", "cnn"]):
        write(tmp_path / model, place, model=model, epochs=3 + place)
    groups = group_runs(load_runs([tmp_path]))
    assert [group.name for group in groups] == ["cnn", "lnn"]
    assert groups[0].settings == {"epochs": "4"}


def test_model_names_include_arguments_that_differ(tmp_path):
    write(tmp_path / "a", model_args={"units": 19})
    write(tmp_path / "b", model_args={"units": 25})
    write(tmp_path / "c", model_args={"recurrence": "lstm"})
    write(tmp_path / "d")
    assert set(names(tmp_path)) == {"lnn units=19", "lnn units=25", "lnn recurrence=lstm", "lnn"}


def test_model_names_use_the_fewest_fields_that_distinguish_them(tmp_path):
    write(tmp_path / "a", model_args={"units": 19}, learning_rate=0.001, epochs=5)
    write(tmp_path / "b", model_args={"units": 25}, learning_rate=0.01, epochs=6)
    assert set(names(tmp_path)) == {"lnn units=19", "lnn units=25"}
    write(tmp_path / "c", model_args={"units": 25}, learning_rate=0.02, epochs=6)
    assert set(names(tmp_path)) == {"lnn learning_rate=0.001", "lnn learning_rate=0.01", "lnn learning_rate=0.02"}
    assert group_runs(load_runs([tmp_path]))[0].settings == {"epochs": "5", "learning_rate": "0.001", "units": "19"}


def test_a_study_names_its_models_by_their_folders(tmp_path):
    for name, units in (("lnn-small", 19), ("lnn-large", 25)):
        for seed in range(2):
            write(tmp_path / "breastmnist" / name / f"seed-{seed}", seed, model_args={"units": units})
    assert names(tmp_path) == {"lnn-large": [0, 1], "lnn-small": [0, 1]}


def test_equal_folder_names_of_two_models_are_distinguished(tmp_path):
    write(tmp_path / "one" / "lnn" / "seed-0", epochs=3)
    write(tmp_path / "two" / "lnn" / "seed-0", epochs=4)
    assert set(names(tmp_path)) == {"lnn epochs=3", "lnn epochs=4"}


def test_a_repeated_seed_is_left_out(tmp_path):
    write(tmp_path / "a", 3)
    write(tmp_path / "b", 3)
    write(tmp_path / "c", 1)
    (group,) = group_runs(load_runs([tmp_path]))
    assert [run.path.name for run in group.runs] == ["c", "a"]
    assert [run.path.name for run in group.left_out] == ["b"]


def test_an_argument_named_like_a_field_is_kept_separate(tmp_path):
    write(tmp_path / "a", size=28, model_args={"size": 5})
    write(tmp_path / "b", size=28, model_args={"size": 6})
    assert set(names(tmp_path)) == {"lnn model_args.size=5", "lnn model_args.size=6"}
