"""A run's folder: made once, whole, and readable after damage."""

import errno
import os

import numpy as np
import pytest

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.runs.checkpoints import Checkpoint
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.selection import Selection
from keras_lnn.training.loop import train_or_resume
from keras_lnn.training.protocol import is_run_of


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(TrainConfig(run_dir=tmp_path / "run", epochs=3), {"seed": 1})


def checkpoint(epoch: int) -> Checkpoint:
    history = [{"epoch": number, "val_auc": 0.1 * number} for number in range(1, epoch + 1)]
    model = [np.full((2, 3), epoch, np.float32), np.array(epoch, np.int64)]
    confusion = [np.full((2, 2), number) for number in range(1, epoch + 1)]
    arrays = [np.arange(epoch, dtype=np.float32)]
    return Checkpoint(epoch, model, arrays, history, 1.5 * epoch, confusion=confusion)


def test_a_new_folder_holds_configuration_and_environment(folder):
    assert TrainConfig.from_yaml(folder.config).epochs == 3
    assert folder.environment.read_text() == '{\n  "seed": 1\n}\n'
    assert RunFolder.open(folder.path) == folder
    assert folder.read_metrics() is None
    assert folder.read_checkpoint() is None
    assert folder.name == "run"


def test_a_folder_is_never_used_twice(folder):
    with pytest.raises(InputError, match=r"must be new.*--resume"):
        RunFolder.create(TrainConfig(run_dir=folder.path), {})


def test_names_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(model="lnn", data="folder:some/where")
    first, second, third = (RunFolder.create(config, {}) for _ in range(3))
    assert len({first.path, second.path, third.path}) == 3
    assert first.path.parent.name == "runs"
    assert "lnn-folder-some-where" in first.path.name


def test_run_paths_with_wildcards_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must not contain \[, \]"):
        RunFolder.create(TrainConfig(run_dir=tmp_path / "runs" / "[best]"), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_damaged_metrics_count_as_missing(folder, content):
    folder.metrics.write_text(content)
    assert folder.read_metrics() is None


def test_resuming_removes_useless_files(folder):
    for epoch in (4, 5):
        folder.write_checkpoint(checkpoint(epoch), 4)
    for file in (folder.path / "checkpoints").iterdir():
        file.write_bytes(b"")
    (folder.path / ".history.csv.x.keras-lnn.partial").mkdir()
    assert folder.prepare_resume() is None
    folder.write_checkpoint(checkpoint(1), 1)
    assert folder.read_checkpoint().epoch == 1
    assert not list(folder.path.glob(".*"))


def test_a_run_of_imported_weights_cannot_be_resumed(folder):
    folder.best_model.write_bytes(b"weights")
    with pytest.raises(InputError, match="which was imported"):
        folder.prepare_resume()


def test_folders_that_are_not_runs_are_reported(tmp_path):
    with pytest.raises(InputError, match=r"must contain a config\.yaml"):
        RunFolder.open(tmp_path)


def test_a_checkpoint_is_read_back_and_old_ones_are_removed(folder):
    for epoch, best in ((1, 1), (2, 2), (3, 2), (4, 2)):
        folder.write_checkpoint(checkpoint(epoch), best)
    names = {path.name for path in (folder.path / "checkpoints").iterdir()}
    assert names == {"epoch-000003.npz", "epoch-000004.npz", "best-000002.npz"}
    found = folder.read_checkpoint()
    expected = checkpoint(4)
    assert (found.epoch, found.history, found.seconds) == (4, expected.history, 6.0)
    assert len(found.confusion) == 4
    arrays = [each.model + each.optimizer + each.confusion for each in (found, expected)]
    for left, right in zip(*arrays, strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    np.testing.assert_array_equal(folder.read_best(2)[0], np.full((2, 3), 2))


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped"])
def test_a_damaged_newest_falls_back_to_the_one_before(folder, damage):
    for epoch, best in ((1, 1), (2, 2), (3, 3)):
        folder.write_checkpoint(checkpoint(epoch), best)
    newest = folder.path / "checkpoints" / "epoch-000003.npz"
    content = newest.read_bytes()
    if damage == "truncated":
        newest.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        newest.write_bytes(b"")
    else:
        place = content.index(np.full((2, 3), 3, np.float32).tobytes())
        newest.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    assert folder.read_checkpoint().epoch == 2
    np.testing.assert_array_equal(folder.read_best(2)[0], np.full((2, 3), 2))
    folder.write_checkpoint(checkpoint(3), 3)
    assert folder.read_checkpoint().epoch == 3


def best_file(folder, epoch):
    return folder.path / "checkpoints" / f"best-{epoch:06d}.npz"


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
@pytest.mark.parametrize("best", [3, 4])
def test_a_best_model_that_is_damaged_is_taken_from_its_checkpoint(folder, best, content):
    for epoch in (1, 2, 3, 4):
        folder.write_checkpoint(checkpoint(epoch), min(epoch, best))
    best_file(folder, best).unlink()
    if content is not None:
        best_file(folder, best).write_bytes(content)
    found = folder.prepare_resume()
    assert (found.epoch, found.history) == (4, checkpoint(4).history)
    np.testing.assert_array_equal(folder.read_best(best)[0], np.full((2, 3), best))


def test_training_resumes_without_the_lost_best_model(folder, tmp_path):
    for epoch in (1, 2, 3, 4):
        folder.write_checkpoint(checkpoint(epoch), 1)
    best_file(folder, 1).write_bytes(b"damaged")
    other = RunFolder.create(TrainConfig(run_dir=tmp_path / "other"), {})
    for found in (other.take_over(folder), folder.prepare_resume(), folder.prepare_resume()):
        assert found.epoch == 4
        assert [row.get("weights_lost") for row in found.history] == [1.0, 1.0, 1.0, None]
        selection = Selection("val_loss")
        assert selection.choose(found.history)[0] == 4
        assert "no epoch up to 3 could be kept" in selection.warn([*found.history, {"epoch": 5, "val_loss": 0.5}])
    for run in (folder, other):
        np.testing.assert_array_equal(run.read_best(4)[0], np.full((2, 3), 4))
        np.testing.assert_array_equal(run.read_last()[0], np.full((2, 3), 4))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_checkpoints_that_cannot_be_read_for_a_moment_are_kept(folder, monkeypatch, number):
    for epoch in (1, 2, 3):
        folder.write_checkpoint(checkpoint(epoch), 2 if epoch > 1 else 1)
    before = sorted(path.name for path in (folder.path / "checkpoints").iterdir())

    def fail(path, *arguments, **options):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", fail)
        for call in (folder.read_checkpoint, folder.prepare_resume, folder.read_last):
            with pytest.raises(InputError, match=r"must be readable\. Received: .*epoch-000003\.npz \("):
                call()
    assert sorted(path.name for path in (folder.path / "checkpoints").iterdir()) == before
    assert folder.prepare_resume().epoch == 3


@pytest.mark.parametrize("names", [["scan.png"], ["environment.json", "mine.csv"], ["checkpoints"], None])
def test_folders_that_are_not_runs_are_not_removed(tmp_path, names):
    place = tmp_path / "place"
    if names is None:
        place.write_text("a file")
    for name in names or ():
        place.mkdir(exist_ok=True)
        (place / name).write_text("precious")
    with pytest.raises(InputError, match=r"must be new or hold a run\. Received: .*place with other files"):
        train_or_resume(TrainConfig(run_dir=place))
    assert place.read_text() == "a file" if names is None else all((place / name).exists() for name in names)


@pytest.mark.parametrize("content", ["epochs: [", "epoch: 3", "\0"])
def test_a_damaged_configuration_is_not_taken_for_another_run(folder, content):
    config = TrainConfig.from_yaml(folder.config)
    folder.write_checkpoint(checkpoint(1), 1)
    folder.config.write_text(content)
    with pytest.raises(InputError, match=r"a configuration that can be read\. Received: .*config\.yaml .* Nothing was"):
        train_or_resume(config)
    assert folder.read_checkpoint().epoch == 1


def test_complete_and_unfinished_runs_are_removed(folder, tmp_path):
    folder.write_checkpoint(checkpoint(1), 1)
    begun = RunFolder(tmp_path / "begun")
    begun.path.mkdir()
    begun.environment.write_text("{}")
    (begun.path / ".config.yaml.x.keras-lnn.partial").mkdir()
    for run in (folder, begun, RunFolder(tmp_path / "new")):
        run.remove()
        assert not run.path.exists()


def test_an_unreadable_configuration_does_not_make_another_run(folder, monkeypatch):
    config = TrainConfig.from_yaml(folder.config)
    assert is_run_of(folder.path, config)
    folder.write_checkpoint(checkpoint(1), 1)

    def fail(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", fail)
        # Else it would be removed as the run of another configuration.
        with pytest.raises(InputError, match=r"must be readable\. Received: .*config\.yaml \(Permission denied\)"):
            train_or_resume(config)
    assert folder.read_checkpoint().epoch == 1
