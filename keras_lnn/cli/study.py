"""``python -m keras_lnn study``: the options, the display and the output of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic_settings import CliPositionalArg
from rich.console import Console

from keras_lnn.cli.starting import require_one_device
from keras_lnn.data.catalog import is_series, require_source
from keras_lnn.errors import InputError
from keras_lnn.fields.options import ClusterOptions, FoldOptions, OwnModules
from keras_lnn.fields.values import MOST_WORKERS, parse_duration, parse_memory
from keras_lnn.files.atomic import hold_folder
from keras_lnn.files.written import require_own_folder
from keras_lnn.processes.engines import Engine, open_engine
from keras_lnn.processes.runner import Limits
from keras_lnn.processes.sharing import keep_this_process_small
from keras_lnn.runs.own_modules import require_names
from keras_lnn.studies.declaration import QUICK_EPOCHS, Study, StudyRun, choose, lay_out, load_study, path_name
from keras_lnn.studies.grid import Point, parse_assignments
from keras_lnn.studies.memory import FILE, recall, recall_imports, remember
from keras_lnn.terminal import make_console, start_keras

_TABLES = ("table.txt", "table.md", "table.tex", "table.html", "study.html")
_SAMPLING = ("sampling.csv", "sampling_differences.csv", "sampling.txt", "sampling.md", "sampling.tex")
_REPLACED = ("results.csv", "differences.csv", "pairs.csv", "pooled.csv", "summary.csv", *_TABLES, *_SAMPLING, "plots")


class StudyCommand(ClusterOptions, OwnModules):
    """Train the networks of a study on its data sets with several seeds, each run in its own process.

    The same command continues a study that was stopped or killed; completed runs are kept.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    study: CliPositionalArg[str] = pydantic.Field(description="name of a study, such as term-paper, or a YAML file")
    models: str | None = pydantic.Field(None, description="networks of the study to train, as a,b (default: all)")
    data: str | None = pydantic.Field(None, description="data sets to train on, as a,b (default: all of the study)")
    seeds: Annotated[int, pydantic.Field(ge=1)] | None = pydantic.Field(
        None,
        description="number of seeds for each network and data set, or of repeats of a study with folds (default: as"
        " the study declares)",
    )
    grid: str | None = pydantic.Field(
        None,
        description="values for fields of the protocol's grid or for further training fields; the networks are trained "
        "with each combination, such as 'time_budget=30s,60s,90s learning_rate=1e-3'",
    )
    fields: str | None = pydantic.Field(
        None,
        description="training fields for all runs that replace those of the study, such as 'size=64 batch_size=16'",
    )
    protocol: str | None = pydantic.Field(None, description="protocol of the study (default: its first one)")
    quick: bool = pydantic.Field(
        False, description=f"{QUICK_EPOCHS} epochs and one seed or repeat, to check that every run works"
    )
    workers: Annotated[int, pydantic.Field(ge=1, le=MOST_WORKERS)] | None = pydantic.Field(
        None,
        description="number of runs at a time; they share the processors, and each gets one of the GPUs (default: 1, or"
        " as many as a Ray cluster has room for; required for Slurm)",
    )
    study_dir: Path | None = pydantic.Field(None, description="folder of the study (default: studies/STUDY-PROTOCOL)")
    data_dir: Path | None = pydantic.Field(None, description="folder of the data files")
    accept_checksum: bool = pydantic.Field(False, description="accept a data file with another checksum")
    run_timeout: str | None = pydantic.Field(None, description="time after which a run is killed, such as 30m")
    memory_limit: str | None = pydantic.Field(None, description="memory above which a run is killed, such as 4G")
    show: bool = pydantic.Field(False, description="print how many runs are done and which are left, and stop")

    @pydantic.field_validator("run_timeout", mode="before")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        parse_duration(value)
        return value

    @pydantic.field_validator("memory_limit", mode="before")
    @classmethod
    def _memory(cls, value: str | None) -> str | None:
        parse_memory(value)
        return value


def run_study(command: StudyCommand) -> None:
    """Runs the study and writes its results."""
    command.require_cluster()
    study = load_study(command.study)
    runs, folder = _lay_out(study, command)
    require_own_folder(folder, FILE, _REPLACED, "--study-dir")
    for run in runs:  # names are checked before Keras is imported
        require_names(run.config)
        require_one_device(run.config, "a study")
        if study.sampling and not is_series(run.config.data):
            raise InputError(
                f"A study that declares sampling must have series of images in time. Received: {run.config.data}."
                " Leave sampling out, or name other data."
            )
        if not command.show:
            require_source(run.config.data, run.config.image_dir)
    console = make_console()
    notes = [] if command.cluster is not None else _describe_shares(runs, command.workers or 1)
    for note in notes:
        console.print(note)
    if command.show:
        _run_study(command, study, runs, folder, console, notes)
        return
    with hold_folder(folder, "A study", "Wait for it, or give another --study-dir."):
        _run_study(command, study, runs, folder, console, notes)


def _run_study(
    command: StudyCommand, study: Study, runs: list[StudyRun], folder: Path, console: Console, notes: list[str]
) -> None:
    # The runs' processes import TensorFlow while this one, which does not need it, looks for completed runs.
    limits = Limits(parse_duration(command.run_timeout), parse_memory(command.memory_limit))
    engine = None if command.show else open_engine(command, command.workers, limits)
    try:
        keep_this_process_small()
        start_keras(console)
        from keras_lnn.cli.folds import check_fold_data
        from keras_lnn.studies.display import StudyDisplay
        from keras_lnn.studies.running import Progress, find_done, run_all
        from keras_lnn.training.protocol import complete_config

        for run in runs:
            complete_config(run.config)  # a mistake is reported before the first run
        display = StudyDisplay(console, study.title, runs, folder)
        if engine is None:
            progress = Progress(runs, find_done(runs))
            display.introduce(progress)
            display.list_left(progress)
            return
        if study.folds is not None:
            left = Progress(runs, find_done(runs)).left
            for run in {run.config.data: run for run in left}.values():
                check_fold_data([run], FoldOptions(folds=study.folds), console)
        remember(folder, runs)
        engine.begin(folder, console)
        try:
            with display:
                calls = {"introduce": display.introduce, "watch": display.watch, "ended": display.report_run}
                progress = run_all(runs, engine, limits=limits, **calls)
            shown = _list_shown(study, command, folder, runs)
            unmeasured = _measure_samplings(study, shown, engine, console, limits)
        except KeyboardInterrupt:
            console.print("stopped; the same command continues the study")
            raise
    finally:
        if engine is not None:
            engine.close()
    from keras_lnn.studies.output import write_results  # it imports what draws, which the first runs need not wait for

    protocol = study.protocols[command.protocol or next(iter(study.protocols))]
    notes = [note for note in (protocol.note, *notes) if note]
    options = {"figures": protocol.figures, "notes": notes, "quick": command.quick}
    written = write_results(folder, study, shown, progress.failures, console, **options)
    display.conclude(progress, written)
    if progress.failures:
        raise InputError(
            f"All runs of a study must succeed. Received: {len(progress.failures)} failed runs, with their reasons"
            " above. The same command tries them again."
        )
    if unmeasured:
        raise InputError(
            f"All runs must be measured under other samplings. Received: {len(unmeasured)} networks that could not be,"
            " with their reasons above. The same command tries them again."
        )


def _measure_samplings(
    study: Study, runs: list[StudyRun], engine: Engine, console: Console, limits: Limits
) -> dict[str, str]:
    """Measures the finished runs under other samplings if the study declares it; returns the reasons of failures."""
    from keras_lnn.studies.running import is_done
    from keras_lnn.studies.sampling import measure_left

    if not study.sampling:
        return {}
    # The limit of time is meant for a run's training.
    done = [run for run in runs if is_done(run)]
    return measure_left(done, engine, console, limits=Limits(memory_bytes=limits.memory_bytes))


def _lay_out(study: Study, command: StudyCommand) -> tuple[list[StudyRun], Path]:
    protocol = choose("protocol", [command.protocol] if command.protocol else None, list(study.protocols))[0]
    name = f"{path_name(Path(command.study).stem)}-{protocol}{'-quick' if command.quick else ''}"
    folder = command.study_dir or Path("studies", name)
    asked: dict[str, Any] = {"networks": _split(command.models), "data": _split(command.data), "seeds": command.seeds}
    asked["grid"] = parse_assignments(command.grid, "--grid")
    return lay_out(study, folder, **asked, **_common(command, folder)), folder


def _common(command: StudyCommand, folder: Path) -> dict[str, Any]:
    given = parse_assignments(command.fields, "--fields")
    # A value that contains commas, such as a window, counts as one value here.
    given = {name: values[0] if len(values) == 1 else ",".join(map(str, values)) for name, values in given.items()}
    modules = (*recall_imports(folder), *command.imports)
    said = {"data_dir": command.data_dir, "accept_checksum": command.accept_checksum, "imports": modules}
    fields = Point(given).apply(said)
    return {"protocol": command.protocol, "quick": command.quick, "fields": fields}


def _list_shown(study: Study, command: StudyCommand, folder: Path, runs: list[StudyRun]) -> list[StudyRun]:
    """Returns the runs of the tables: those requested now, and completed ones in the folder that were not."""
    from keras_lnn.studies.running import is_done

    asked = {run.folder for run in runs}
    known = recall(study, folder, **_common(command, folder))
    shown = [*runs, *(run for run in known if run.folder not in asked and is_done(run))]
    order = list(study.networks)
    return sorted(shown, key=lambda run: (run.config.data, order.index(run.base), run.config.seed))  # stable in a grid


def _describe_shares(runs: list[StudyRun], workers: int) -> list[str]:
    """Returns a note if runs with a time budget share the processors, otherwise none."""
    if workers == 1 or not any(run.config.time_budget for run in runs):
        return []
    return [
        f"{workers} runs at a time share the processors: within its time budget each sees fewer images than it would"
        " alone. Use --workers 1 for a fair comparison."
    ]


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]
