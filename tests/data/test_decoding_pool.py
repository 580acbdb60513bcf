import errno
import os

import numpy as np
import pytest
from full_disk import full_disk
from PIL import Image

from keras_lnn.data.decode import decoding_pool, images
from keras_lnn.data.decode.decoded_cache import open_or_decode
from keras_lnn.data.decode.decoding_pool import PixelFile, decode_to_file
from keras_lnn.data.decode.faults import CRASH, Decoded
from keras_lnn.data.options import Rendering
from keras_lnn.errors import InputError

SHAPE = (5, 4, 1)
OFFSET = 7


@pytest.fixture
def files(tmp_path):
    """Twenty image files, of which the fifth is not an image and the ninth has 16 bits."""
    paths = [tmp_path / f"{k:02}é.png" for k in range(20)]
    for k, path in enumerate(paths):
        Image.fromarray(np.full((6, 6), 10 * k, np.uint8)).save(path)
    paths[5].write_bytes(b"no image")
    Image.fromarray(np.full((6, 6), 257 * 99, np.uint16)).save(paths[9])
    return paths


@pytest.fixture
def target(tmp_path, files):
    path = tmp_path / "pixels"
    path.write_bytes(b"\xff" * (OFFSET + len(files) * 20))
    return PixelFile(path, OFFSET, SHAPE, Rendering())


def read(target):
    content = np.fromfile(target.path, np.uint8)
    assert (content[:OFFSET] == 255).all()
    return content[OFFSET:].reshape(-1, *SHAPE)


def assert_right(target, found, missing=()):
    values = [0 if k in (5, *missing) else 99 if k == 9 else 10 * k for k in range(20)]
    assert (read(target) == np.reshape(values, (-1, 1, 1, 1))).all()
    assert found.faults == {5: "not an image"} | dict.fromkeys(missing, "crashes the decoder")
    assert found.brightest == 257 * 99
    assert len(set(found.digests.values())) == len(found.digests) == 20 - len(found.faults)


@pytest.mark.parametrize("few", [1, 1000], ids=["processes", "threads"])
def test_rows_faults_and_progress_are_reported(files, target, monkeypatch, few):
    monkeypatch.setattr(decoding_pool, "_FEW_FILES", few)
    monkeypatch.setattr(decoding_pool, "_MOST_FILES_AT_ONCE", 3)
    monkeypatch.setattr(decoding_pool.os, "cpu_count", lambda: 2)
    fractions = []
    assert_right(target, decode_to_file(files, target, fractions.append))
    assert fractions == sorted(fractions)
    assert len(fractions) == 7
    assert fractions[-1] == 1.0


def test_a_file_that_crashes_the_decoder_fails_alone(files, target, monkeypatch):
    monkeypatch.setattr(decoding_pool, "_FEW_FILES", 1)
    monkeypatch.setattr(decoding_pool.os, "cpu_count", lambda: 2)
    ask = decoding_pool._Worker._ask

    def die_of(worker, start, some):
        if files[13] in some:
            worker._process.kill()
        return ask(worker, start, some)

    monkeypatch.setattr(decoding_pool._Worker, "_ask", die_of)
    target.path.write_bytes(b"\xff" * OFFSET + bytes(20 * 20))
    assert_right(target, decode_to_file(files, target), missing=[13])


@pytest.mark.parametrize("few", [1, 1000], ids=["processes", "threads"])
def test_a_full_disk_is_not_blamed_on_the_files(files, target, monkeypatch, few):
    monkeypatch.setattr(decoding_pool, "_FEW_FILES", few)
    monkeypatch.setattr(decoding_pool, "_MOST_FILES_AT_ONCE", 3)
    monkeypatch.setattr(decoding_pool.os, "cpu_count", lambda: 2)
    with (
        full_disk(OFFSET),
        pytest.raises(InputError, match=r"need room on the cache's disk\. Received: .*File too large"),
    ):
        decode_to_file(files, target)


def test_processes_that_do_not_start_are_not_blamed_on_the_files(files, target, monkeypatch):
    monkeypatch.setattr(decoding_pool, "_FEW_FILES", 1)
    monkeypatch.setattr(decoding_pool.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(decoding_pool.sys, "executable", "false")
    with pytest.raises(InputError, match="end as soon as they begin"):
        decode_to_file(files, target)


def test_decoding_processes_end_with_their_parent(target):
    with decoding_pool._Worker(target) as worker:
        assert worker._process.poll() is None
    assert worker._process.returncode == 0


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_files_that_the_system_cannot_open_now_are_tried_again(files, tmp_path, monkeypatch, reason):
    def refuse(*_):
        raise OSError(reason, os.strerror(reason))

    def load():
        kinds = [str(k) for k in range(20)]
        return open_or_decode(files, kinds, SHAPE, Rendering(), folder=tmp_path / "cache").decoded

    with monkeypatch.context() as short:
        short.setattr(images, "open_image", refuse)
        short.setattr(images.picture_files, "read_plain_png", refuse)
        found = load()
        assert found.obstacles == list(range(20))
        with pytest.raises(InputError, match=r"20 of 20 that cannot be read: .* damaged themselves"):
            found.require_no_obstacles(files)
    for _ in range(2):
        found = load()
        assert (found.faults, found.brightest, found.obstacles) == ({5: "not an image"}, 257 * 99, [])


@pytest.mark.parametrize("error", [MemoryError(), OSError("decoder jpeg2k not available")])
def test_faults_of_the_machine_are_not_final(files, target, monkeypatch, error):
    def refuse(*_):
        raise error

    monkeypatch.setattr(images, "open_image", refuse)
    assert not decode_to_file(files, target).is_final


def test_obstacles_and_crashes_are_reported_across_processes(files, target, monkeypatch):
    monkeypatch.setattr(decoding_pool, "_FEW_FILES", 1)
    monkeypatch.setattr(decoding_pool.os, "cpu_count", lambda: 2)
    files[7].unlink()
    found = decode_to_file(files, target)
    assert (found.faults, found.obstacles) == ({5: "not an image", 7: "missing"}, [7])
    assert not Decoded({3: CRASH}).is_final


def test_processes_write_nothing_to_the_terminal(files, target, monkeypatch, capfd):
    monkeypatch.setattr(decoding_pool, "_FEW_FILES", 1)
    monkeypatch.setattr(decoding_pool.os, "cpu_count", lambda: 2)
    decode_to_file(files, target)
    assert capfd.readouterr() == ("", "")
