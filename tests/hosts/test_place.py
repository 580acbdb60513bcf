"""The place of a host among those of a run, from options or from what started the processes."""

import pytest

from keras_lnn.cli.main import main
from keras_lnn.errors import InputError
from keras_lnn.fields.options import HostOptions
from keras_lnn.fields.values import validate
from keras_lnn.hosts.place import Place, find_place

SLURM = {"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_JOB_ID": "4099", "SLURM_STEP_NODELIST": "node[007,012-014]"}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}
GIVEN = {"hosts": "2", "host_rank": 1, "coordinator": "10.0.0.5:1234"}


def place(environment: dict[str, str] | None = None, **options) -> Place:
    return find_place(validate(HostOptions, options), environment or {})


@pytest.mark.parametrize(
    ("options", "environment", "expected"),
    [
        ({}, SLURM, Place()),
        ({"hosts": 1}, {}, Place()),
        ({"hosts": 1}, SLURM, Place()),
        (GIVEN, {}, Place(2, 1, "10.0.0.5", 1234)),
        ({**GIVEN, "coordinator": "[fe80::1]:1234"}, {}, Place(2, 1, "fe80::1", 1234)),
        (GIVEN, SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, Place(2, 1, "10.0.0.5", 1234)),
        ({"hosts": "auto"}, SLURM, Place(4, 2, "node007", 61443)),
        ({"hosts": "4"}, SLURM | {"SLURM_STEP_NODELIST": "a1,b2"}, Place(4, 2, "a1", 61443)),
        ({"hosts": "auto"}, SLURM | {"SLURM_STEP_NODELIST": "rack[2-3]-ib,x"}, Place(4, 2, "rack2-ib", 61443)),
        ({"hosts": "auto", "coordinator": "b:7"}, SLURM, Place(4, 2, "b", 7)),
        ({"hosts": "auto"}, MPI | {"JAX_COORDINATOR_ADDRESS": "a:7"}, Place(2, 1, "a", 7)),
        ({"hosts": "3", "coordinator": "a:7"}, {"JOB_COMPLETION_INDEX": "2"}, Place(3, 2, "a", 7)),
        ({"hosts": "auto"}, SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, Place()),
    ],
)
def test_a_host_finds_its_place(options, environment, expected):
    assert place(environment, **options) == expected


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        ({"host_rank": 1}, {}, "--host-rank is for a run on several hosts"),
        ({"coordinator": "a:7"}, {}, "--coordinator is for a run on several hosts"),
        ({"hosts": "auto"}, {}, "--hosts auto is for processes that Slurm"),
        ({"hosts": "3"}, SLURM, r"that Slurm started, one on each host, 4\. Received: 3\. Give --hosts auto"),
        ({"hosts": "2", "coordinator": "a:7"}, {}, "Give --host-rank, from 0"),
        ({**GIVEN, "host_rank": 2}, {}, r"below the number of hosts, 2\. Received: 2\. Ranks count from 0"),
        ({"hosts": "2", "host_rank": 0}, {}, "Give --coordinator ADDRESS:PORT"),
        ({"hosts": "auto"}, MPI | {"JAX_COORDINATOR_ADDRESS": "a"}, r"must be HOST:PORT.*Received: a\."),
        ({"hosts": "0"}, {}, "must be auto, or a number from 1"),
        ({"hosts": "two"}, {}, "must be auto, or a number from 1"),
        ({"hosts": "2", "coordinator": "a"}, {}, "must be HOST:PORT"),
    ],
)
def test_a_mistaken_place_is_reported(options, environment, message):
    with pytest.raises(InputError, match=message):
        place(environment, **options)


@pytest.mark.parametrize("option", ["--folds 3", "--print-config", "--show-augmentation x.png"])
def test_hosts_are_for_the_training_of_one_run(option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"--hosts is for the training of one run\. Received: 2 with"):
        main(f"train --hosts 2 --host-rank 0 --coordinator a:7 {option}".split())
    assert not list(tmp_path.iterdir())
