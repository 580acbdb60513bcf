"""Whole searches with real processes: their files, failures, stops, resumption and shared work."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import trial_models
import yaml
from rich.console import Console

from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_memory
from keras_lnn.models.ranges import Choice
from keras_lnn.processes.engines import ThisMachine
from tuning.searching import search
from tuning.settings import SearchSettings
from tuning.space import Space

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from series_samples import write_series

pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAULTY = TrainConfig(model="faulty-net", data="tiny-stripes", batch_size=16, imports=("trial_models",))
FAULTS = tuple(fault for fault in trial_models.FAULTS if fault != "hang")
FAULT_RANGES = {"fault": Choice(FAULTS), "learning_rate": Choice((0.01,))}
WAIT_SECONDS = 1500  # only against waiting for ever
QUICK = TrainConfig(model="quick-net", data="tiny-stripes", epochs=2, batch_size=16, imports=("trial_models",))
SMALL_SPACE = "{units: [2, 4, 6, 8], activation: [relu, tanh], learning_rate: [0.01, 0.001]}"


def run_search(config, space, folder, **options):
    with open(os.devnull, "w") as nothing:
        console = Console(file=nothing, width=140, markup=False)
        return search(config, space, console=console, search_dir=folder, **options)


def small_space():
    return Space("quick-net", {"units": Choice((2, 4, 6, 8)), "learning_rate": Choice((0.01, 0.001))})


@pytest.fixture(scope="module")
def engine():
    """Starts the trials of several searches."""
    engine = ThisMachine(environment={"KERAS_BACKEND": None})
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def faults(tmp_path_factory, engine):
    """One search over every fault but a trial that hangs, and what it printed."""
    folder = tmp_path_factory.mktemp("faults") / "search"
    space = Space("faulty-net", FAULT_RANGES)
    with open(folder.with_name("console.txt"), "w+") as file:
        console = Console(file=file, width=1000, markup=False, highlight=False)
        options = {"search_dir": folder, "tuner": "grid", "engine": engine}
        result = search(FAULTY, space, console=console, memory_limit="1500M", max_failures=100, **options)
        file.seek(0)
        return result, file.read()


def test_a_search_with_every_fault_ends_and_names_them(faults):
    result, printed = faults
    trials = result.trials
    assert result.stopped_because == ""
    assert len(trials) == 6
    good = trials[trials["fault"] == "none"]
    assert list(good["status"]) == ["completed"]
    assert good["val_auc"].between(0, 1).all()
    assert good["failure"].isna().all()
    failed = trials[trials["fault"] != "none"]
    assert (failed["status"] == "failed").all()
    assert failed["val_auc"].isna().all()
    reasons = {
        "raise": "RuntimeError: built to fail",
        "memory": r"used .* MiB, more than its limit of 1,500 MiB",
        "nan": r"The loss must stay finite\. Received: nan in epoch 1",
        "exit": "ended with exit status 1, without a result",
        "kill": r"was killed by the system \(SIGKILL\)",
    }
    for fault, reason in reasons.items():
        reported = failed.loc[failed["fault"] == fault, "failure"]
        assert len(reported) == 1
        assert all(re.match(reason, text) for text in reported)
        assert re.search(rf"trial \d+ failed: {reason}.*log\.txt", printed)
    assert "1 trials succeeded, 5 failed" in printed


def test_a_trial_that_hangs_is_a_failure_once_its_time_is_up(tmp_path, engine):
    space = Space("faulty-net", {"fault": Choice(("hang",))})
    result = run_search(FAULTY, space, tmp_path / "search", tuner="grid", trial_timeout="1s", engine=engine)
    assert list(result.trials["status"]) == ["failed"]
    assert list(result.trials["failure"]) == ["took longer than its limit of 1 s"]


def test_a_search_writes_its_documented_files(faults):
    result, printed = faults
    files = {path.name for path in result.folder.iterdir() if path.is_file()} - {".lock"}
    assert files == {"trials.csv", "best.yaml", "search.yaml", "oracle.json"}
    assert not list(result.folder.rglob("*.partial"))
    pictures = {path.name for path in (result.folder / "plots").iterdir()}
    assert pictures == {"progress.png", "learning_curves.png"}  # of few trials no importance is drawn
    table = pd.read_csv(result.folder / "trials.csv", dtype={"trial": str})
    assert list(table["trial"]) == list(result.trials["trial"])
    best = TrainConfig.from_yaml(result.folder / "best.yaml")
    assert best == result.best
    whole = table[table["status"] == "completed"]
    assert best.learning_rate == whole.loc[whole["val_auc"].idxmax(), "learning_rate"]
    assert best.test
    assert (best.seed, best.run_dir, best.export, best.tensorboard) == (0, None, "saved_model", True)
    run = result.tuner.run_folders(whole["trial"].iloc[0])[0]
    metrics = yaml.safe_load((run / "metrics.json").read_text())
    assert "test" not in metrics
    assert metrics["val"]["auc"]["value"] == pytest.approx(whole["val_auc"].iloc[0], abs=0.02)
    assert set(pd.read_csv(run / "predictions.csv")["split"]) == {"val"}
    assert result.tuner.load_model(result.oracle.get_best_trials()[0]).count_params() == 2 * 784 + 2
    assert "train it: python train.py --config" in printed


def command(folder, *options):
    given = ["--model", "quick-net", "--data", "tiny-stripes", "--epochs", "2", "--imports", "trial_models"]
    space = folder.parent / "space.yaml"
    folder.parent.mkdir(parents=True, exist_ok=True)
    text = SMALL_SPACE.strip("{}").replace("], ", "]\n") + "\n" + "".join(f"{name}: {value}\n" for name, value in FIXED)
    space.write_text(text)
    return [
        *(sys.executable, "-m", "tuning", *given, "--space", str(space), "--search-dir", str(folder)),
        *(() if "--tuner" in options else ("--tuner", "random")),
        *options,
    ]


FIXED = (("weight_decay", 0.0), ("batch_size", 16), ("optimizer", "adam"), ("schedule", "constant"))
FIXED += (("augmentation", "none"),)


def start(arguments, **variables):
    paths = os.pathsep.join([str(ROOT), str(HERE), str(HERE.parent)])
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process):
    printed, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, printed
    return printed


def trials_of(folder):
    table = pd.read_csv(folder / "trials.csv", dtype={"trial": str})
    kept = ["trial", "status", "val_auc", "epochs", "units", "activation", "learning_rate"]
    return table[kept].sort_values("trial", ignore_index=True)


def kill_and_resume(tmp_path, kills, trials, tuner="random"):
    options = ("--tuner", tuner, "--max-trials", str(trials))
    begun = time.monotonic()
    whole = finish(start(command(tmp_path / "whole" / "search", *options)))
    seconds = time.monotonic() - begun
    assert f"{trials} trials succeeded, 0 failed" in whole
    generator = random.Random(0)
    folder = tmp_path / "killed" / "search"
    for _ in range(kills):
        process = start(command(folder, *options))
        time.sleep(generator.uniform(0.1, 0.6) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(start(command(folder, *options)))
    pd.testing.assert_frame_equal(trials_of(folder), trials_of(tmp_path / "whole" / "search"))
    assert not list(folder.glob("*.partial"))


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_a_search_killed_at_random_moments_gives_the_same_result(tmp_path):
    kill_and_resume(tmp_path, kills=10, trials=12)


@pytest.mark.slow
def test_a_killed_search_by_optuna_gives_the_same_result(tmp_path):
    # The first five trials are random, the last two are chosen from the results.
    kill_and_resume(tmp_path, kills=1, trials=7, tuner="tpe")


@pytest.mark.slow
def test_a_killed_search_that_prunes_ends_the_same_trials(tmp_path):
    # After the first of its two epochs a trial goes on if it is in the better half.
    options = ("--tuner", "tpe", "--max-trials", "7", "--prune", "halving", "--factor", "2")
    whole = tmp_path / "whole" / "search"
    printed = finish(start(command(whole, *options)))
    table = trials_of(whole)
    pruned = table[table["status"] == "pruned"]
    assert len(pruned) >= 2
    assert f"{7 - len(pruned)} trials succeeded, {len(pruned)} were pruned, 0 failed" in printed
    assert (pruned["epochs"] == 1).all()
    assert pruned["val_auc"].isna().all()
    metrics = yaml.safe_load((whole / f"trial_{pruned['trial'].iloc[0]}" / "seed-0" / "metrics.json").read_text())
    assert metrics["stopped_because"].startswith("pruned: val_auc 0.")
    folder = tmp_path / "killed" / "search"
    process = start(command(folder, *options))
    wait_for(folder / f"trial_{pruned['trial'].iloc[-1]}" / "seed-0")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finish(start(command(folder, *options)))
    pd.testing.assert_frame_equal(trials_of(folder), table)
    assert (folder / "best.yaml").read_text() == (whole / "best.yaml").read_text()


@pytest.mark.slow
def test_a_killed_search_is_resumed(tmp_path):
    folder = tmp_path / "search"
    first = start(command(folder, "--max-trials", "4"))
    wait_for(folder / "trial_1" / "seed-0")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    begun = (folder / "trial_0" / "seed-0" / "metrics.json").stat().st_mtime
    printed = finish(start(command(folder, "--max-trials", "4")))
    assert "continues " in printed
    assert "4 trials succeeded, 0 failed" in printed
    assert (folder / "trial_0" / "seed-0" / "metrics.json").stat().st_mtime == begun
    whole = run_search_in_this_process(tmp_path / "whole", 4)
    pd.testing.assert_frame_equal(trials_of(folder), whole)


def run_search_in_this_process(folder, trials):
    from tuning.space import make_space

    config = QUICK
    space = make_space(config, folder.parent / "space.yaml")
    run_search(config, space, folder, tuner="random", max_trials=trials)
    return trials_of(folder)


@pytest.mark.slow
def test_two_workers_try_the_same_values(tmp_path):
    alone = run_search(QUICK, small_space(), tmp_path / "one", max_trials=4)
    shared = run_search(QUICK, small_space(), tmp_path / "two", max_trials=4, workers=2)
    columns = ["trial", "status", "units", "learning_rate"]
    pd.testing.assert_frame_equal(
        *(result.trials.sort_values("trial", ignore_index=True)[columns] for result in (alone, shared))
    )


@pytest.mark.slow
def test_several_seeds_and_hyperband_resume_from_checkpoints(tmp_path):
    config = QUICK.model_copy(update={"epochs": 3, "schedule": "cosine"})
    result = run_search(config, small_space(), tmp_path / "search", tuner="hyperband", seeds_per_trial=2)
    trials = result.trials
    assert (trials["status"] == "completed").all()
    promoted = trials[trials["round"] > 0]
    assert len(promoted)
    for _, row in promoted.iterrows():
        folders = result.tuner.run_folders(row["trial"]), result.tuner.run_folders(row["goes_on_from"])
        for now, before in zip(*folders, strict=True):
            history, old = (pd.read_csv(folder / "history.csv") for folder in (now, before))
            pd.testing.assert_frame_equal(history.iloc[: len(old)], old)
            assert len(history) == 3
            assert now.name == before.name
    # As if it had been trained at one go: the schedule is that of the whole run.
    from keras_lnn.training.loop import train

    row = promoted.iloc[0]
    trial = result.oracle.trials[row["trial"]]
    fields = {"seed": 1, "run_dir": tmp_path / "whole", "stop_after": None}
    with open(os.devnull, "w") as nothing:
        whole = train(result.tuner.trial_config(trial).model_copy(update=fields), Console(file=nothing)).folder
    second = pd.read_csv(result.tuner.run_folders(row["trial"])[1] / "history.csv")
    pd.testing.assert_frame_equal(pd.read_csv(whole.history).drop(columns="seconds"), second.drop(columns="seconds"))
    assert row["spread"] >= 0.0
    assert row["epochs"] == 4  # two of each seed: the first was the parent's


@pytest.mark.slow
def test_a_killed_search_with_folds_keeps_its_finished_folds_and_tests_none(tmp_path):
    folder = tmp_path / "search"
    options = ("--folds", "3", "--max-trials", "2")
    first = start(command(folder, *options))
    wait_for(folder / "trial_1" / "seed-0" / "fold-2" / "config.yaml")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    kept = [folder / "trial_0/seed-0/fold-3/metrics.json", folder / "trial_1/seed-0/fold-1/metrics.json"]
    begun = [path.stat().st_mtime_ns for path in kept]
    printed = finish(start(command(folder, *options)))
    assert "2 trials succeeded, 0 failed" in printed
    assert "3 folds each" in printed
    assert "all images of the folds were validation in every trial" in printed
    assert [path.stat().st_mtime_ns for path in kept] == begun
    for _, row in pd.read_csv(folder / "trials.csv", dtype={"trial": str}).iterrows():
        assert row["val_auc"] == pytest.approx(row[["fold_1", "fold_2", "fold_3"]].mean())
        runs = [folder / f"trial_{row['trial']}" / "seed-0" / f"fold-{number}" for number in (1, 2, 3)]
        for run in runs:
            assert "test" not in yaml.safe_load((run / "metrics.json").read_text())
            assert set(pd.read_csv(run / "predictions.csv")["split"]) == {"val"}
        assert row["fold_2"] == pytest.approx(pd.read_csv(runs[1] / "history.csv")["val_auc"].max())
    best = TrainConfig.from_yaml(folder / "best.yaml")
    assert (best.fold, best.test) == (None, True)
    other = start(command(folder, "--folds", "4"))
    refused, _ = other.communicate(timeout=WAIT_SECONDS)
    assert other.returncode == 2
    assert "must continue with the folds that it began with, 3. Received: 4" in refused


@pytest.mark.slow
def test_hyperband_continues_each_fold(tmp_path, engine):
    config = QUICK.model_copy(update={"epochs": 3})
    space = Space("quick-net", {"units": Choice((2, 4))})
    result = run_search(config, space, tmp_path / "search", tuner="hyperband", folds=3, engine=engine)
    promoted = result.trials[result.trials["round"] > 0]
    assert len(promoted)
    for _, row in promoted.iterrows():
        folders = result.tuner.run_folders(row["trial"]), result.tuner.run_folders(row["goes_on_from"])
        for now, before in zip(*folders, strict=True):
            history, old = (pd.read_csv(folder / "history.csv") for folder in (now, before))
            pd.testing.assert_frame_equal(history.iloc[: len(old)], old)
            configs = [TrainConfig.from_yaml(folder / "config.yaml") for folder in (now, before)]
            assert configs[0].fold == configs[1].fold == f"{now.name.removeprefix('fold-')}/3"


@pytest.mark.slow
def test_a_worker_with_other_options_is_refused_and_the_time_of_a_chief_ends_it(tmp_path):
    address = free_address()
    folder = tmp_path / "refusing" / "search"
    begun = time.monotonic()
    chief = start(command(folder, "--serve", address))
    other = start(command(folder, "--chief", address, "--batch-size", "8"))
    printed, _ = other.communicate(timeout=WAIT_SECONDS)
    os.killpg(chief.pid, signal.SIGKILL)
    chief.communicate()
    assert other.returncode == 2
    assert "A worker must have the options of its chief" in printed
    # Time enough for a worker to begin, by what this machine took.
    seconds = round(30 + 2 * (time.monotonic() - begun))
    address, folder = free_address(), tmp_path / "shared" / "search"
    chief = start(command(folder, "--serve", address, "--max-time", f"{seconds}s"))
    worker = start(command(folder, "--chief", address))
    printed = finish(chief)
    assert "the time is up" in printed
    finish(worker)


@pytest.mark.slow
def test_a_chief_and_two_workers_survive_deaths_and_give_the_same_table(tmp_path):
    alone = run_search_alone(tmp_path)
    address = free_address()
    folder = tmp_path / "shared" / "search"
    options = ("--max-trials", "6", "--worker-timeout", "60s")
    chief = start(command(folder, *options, "--serve", address))
    workers = [start(command(folder, *options, "--chief", address), KERASTUNER_TUNER_ID=f"w{k}") for k in range(2)]
    wait_for(folder / "trial_1" / "seed-0")
    os.killpg(workers[0].pid, signal.SIGKILL)  # a worker dies with its trial
    workers[0].communicate()
    wait_for(folder / "trial_2" / "seed-0")
    os.killpg(chief.pid, signal.SIGKILL)  # the chief comes back
    chief.communicate()
    chief = start(command(folder, *options, "--serve", address))
    extra = start(command(folder, *options), KERASTUNER_ORACLE_IP="127.0.0.1",
                  KERASTUNER_ORACLE_PORT=address.rpartition(":")[2], KERASTUNER_TUNER_ID="w2")  # fmt: skip
    printed = finish(chief)
    assert "6 trials succeeded, 0 failed" in printed
    finish(workers[1])
    finish(extra)
    pd.testing.assert_frame_equal(trials_of(folder), alone)


def free_address():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def run_search_alone(tmp_path):
    folder = tmp_path / "alone" / "search"
    finish(start(command(folder, "--max-trials", "6")))
    return trials_of(folder)


def wait_for(path):
    deadline = time.monotonic() + WAIT_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_search_of_series_tries_heads_and_says_which_cannot_take_times(tmp_path, engine):
    config = {"model": "lnn-series", "data": f"series:{write_series(tmp_path)}", "size": 12, "epochs": 1}
    config |= {"batch_size": 8, "model_args": {"features": 4, "units": 4}}
    space = Space("lnn-series", {"head": Choice(("cfc", "lstm")), "times": Choice(("elapsed", "feature"))})
    folder = tmp_path / "search"
    trials = run_search(TrainConfig.create(config), space, folder, tuner="grid", engine=engine).trials
    failed = trials[trials["status"] == "failed"]
    assert failed[["head", "times"]].to_numpy().tolist() == [["lstm", "elapsed"]]
    (reason,) = failed["failure"]
    assert reason.startswith("times=elapsed needs a head that takes times by its equations: cfc, ltc")
    assert trials.loc[trials["status"] == "completed", "val_auc"].between(0, 1).all()
    assert len(trials) == 4


@pytest.mark.slow
def test_a_search_is_locked_by_one_process_and_keeps_its_settings(faults):
    import fcntl

    result, _ = faults
    folder, config, space = result.folder, FAULTY, Space("faulty-net", FAULT_RANGES)
    with pytest.raises(InputError, match=r"must continue with the epochs that it began with, 1\. Received: 3"):
        run_search(config.model_copy(update={"epochs": 3}), space, folder, tuner="grid")
    with pytest.raises(InputError, match=r"with the tuner that it began with, grid\. Received: "):
        run_search(config, space, folder)
    with pytest.raises(InputError, match=r"with the learning_rate that it began with, 0\.01\. Received: None"):
        run_search(config, Space("faulty-net", {"fault": FAULT_RANGES["fault"]}), folder, tuner="grid")
    with open(folder / ".lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="once at a time"):
            run_search(config, space, folder, tuner="grid")


def test_a_search_ends_when_its_time_is_up(tmp_path, engine):
    config = FAULTY.model_copy(update={"model_args": {"seconds": 100_000.0}})
    space = Space("faulty-net", {"fault": Choice(("none", "raise"))})
    result = run_search(config, space, tmp_path / "search", max_trials=2, max_time="8s", engine=engine)
    assert result.stopped_because == "the time is up (--max-time 8s)"
    assert result.best is None
    assert list(result.trials["status"]) == ["running"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tuner", "best"], "tuner must be 'hyperband', 'random', 'bayesian', 'tpe' or 'grid'. Received: 'best'"),
        (["--memory-limit", "much"], "memory_limit must be a number of bytes, perhaps followed by K, M, G or T"),
        (["--trial-timeout", "soon"], "trial_timeout must be a number of seconds, or a number followed by s, m or h"),
        (["--serve", "nowhere"], "serve must be HOST:PORT"),
        (["--worker-timeout", "4s"], "worker_timeout must be at least 10 s"),
        (["--serve", "a:1", "--chief", "b:2"], "either a chief or a worker"),
        (["--no-test"], "A search decides which files its trials write, and where. Received: --test"),
        (["--model", "lnm"], "There is no model 'lnm'. Did you mean lnn"),
        (["--max-trails", "3"], "There is no option --max-trails. Did you mean --max-trials?"),
        (["--imports", "no_such_module", "--data", "phantom-breast"], "--imports must name modules"),
        (["--space", "no.yaml"], "must be a YAML file that can be read"),
    ],
)
def test_a_user_error_is_one_line_and_writes_no_files(tmp_path, monkeypatch, capsys, options, message):
    from keras_lnn.cli.parsing import run_main
    from tuning import __main__ as program

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "tensorflow"))
    monkeypatch.setattr(sys, "argv", ["tuning", *options])
    with pytest.raises(SystemExit) as caught:
        run_main(program.main)
    assert caught.value.code == 2
    reported = capsys.readouterr().err
    assert message in reported
    assert reported.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_two_calls_in_one_process_and_a_port_that_is_taken(tmp_path):
    import tuning

    assert tuning.search is search
    assert tuning.search is search
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match="must be a free address of this machine"):
            run_search(QUICK, small_space(), tmp_path / "search", serve=address)


def test_the_split_is_that_of_the_search_for_every_seed(faults):
    result, _ = faults
    assert result.best.split_seed == 0
    row = result.trials[result.trials["status"] == "completed"].iloc[0]
    run = result.tuner.run_folders(row["trial"])[0]
    assert TrainConfig.from_yaml(run / "config.yaml").split_seed == 0


def test_memory_sizes_are_parsed():
    assert [parse_memory(text) for text in ("4G", "800M", "1.5 GiB", "100", None)] == [
        4 * 2**30,
        800 * 2**20,
        1.5 * 2**30,
        100,
        None,
    ]


def test_environment_variables_select_chief_or_worker():
    address = {"KERASTUNER_ORACLE_IP": "10.0.0.1", "KERASTUNER_ORACLE_PORT": "8000"}
    settings = SearchSettings()
    assert settings.with_environment({}) == settings
    assert settings.with_environment(address | {"KERASTUNER_TUNER_ID": "chief"}).serve == "10.0.0.1:8000"
    assert settings.with_environment(address | {"KERASTUNER_TUNER_ID": "w3"}).chief == "10.0.0.1:8000"
    with pytest.raises(InputError, match="Set all three"):
        settings.with_environment(address)
