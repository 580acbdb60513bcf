"""``keras-lnn train --folds``: trains one run for each fold, and writes what they show together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from keras_lnn.cli.starting import require_one_device
from keras_lnn.config import TrainConfig
from keras_lnn.errors import InputError
from keras_lnn.fields.options import FoldOptions
from keras_lnn.files.atomic import hold_folder
from keras_lnn.folds.layout import FoldRun, begin_folder, lay_out_folds, name_folder, require_folder
from keras_lnn.processes.engines import open_engine
from keras_lnn.processes.sharing import keep_this_process_small
from keras_lnn.studies.declaration import StudyRun
from keras_lnn.terminal import make_console, start_keras


def run_folds(config: TrainConfig, options: FoldOptions) -> None:
    """Trains the folds that are not complete, each in its own process, and writes the results of all."""
    options.require_cluster()
    require_one_device(config, "a cross-validation")
    runs, folder = lay_out_folds(config, options), name_folder(config, options.folds or 0)
    require_folder(folder)
    console = make_console()
    with hold_folder(folder, "A cross-validation", "Wait for it, or give another --run-dir."):
        _run_folds(config, options, runs, folder, console)


def _run_folds(config: TrainConfig, options: FoldOptions, runs: list[FoldRun], folder: Path, console: Console) -> None:
    # The runs' processes import TensorFlow while this one, which does not need it, reads the data.
    engine = open_engine(options, options.workers)
    try:
        keep_this_process_small()
        start_keras(console)
        from keras_lnn.folds.display import FoldDisplay
        from keras_lnn.studies.running import find_done, run_all

        left = len(runs) - len(find_done(runs))
        if left:
            check_fold_data(runs, options, console)
            engine.begin(folder, console)
        begin_folder(folder, config, options)
        display = FoldDisplay(console, runs, folder)
        try:
            with display:
                progress = run_all(
                    runs,
                    engine,
                    introduce=display.introduce,
                    watch=display.watch,
                    ended=display.report_run,
                )
        except KeyboardInterrupt:
            console.print("stopped; the same command continues the cross-validation")
            raise
    finally:
        engine.close()
    if progress.failures:
        display.conclude(progress, {"folder": folder})
        raise InputError(
            f"All folds must succeed, so that each image is predicted. Received: {len(progress.failures)} failed, with"
            " their reasons above. The same command tries them again."
        )
    from keras_lnn.folds.results import write_folds  # it imports what draws, which the runs need not wait for

    write_folds(folder, runs, console)


def check_fold_data(runs: Sequence[StudyRun], options: FoldOptions, console: Console) -> None:
    """Reads the data once, so that what is wrong with them is reported before the first run, and once."""
    from keras_lnn.folds.display import load_pool, print_pool

    data = load_pool(runs[0], console)
    print_pool(console, data, options.folds or 0)
