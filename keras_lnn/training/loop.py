"""Training from a configuration to the folder of a run, for the command line, searches and studies."""

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.text import Text

from keras_lnn.backend.devices import training_on
from keras_lnn.backend.process import describe_environment, prepare_backend
from keras_lnn.backend.programs import filling_batches
from keras_lnn.config import CompleteConfig, TrainConfig
from keras_lnn.data import ImageData, load_data
from keras_lnn.data.pipeline import evaluation_batches, training_batches
from keras_lnn.data.reading import Reading
from keras_lnn.data.samples import SampleRecord, SplitPlan
from keras_lnn.errors import InputError
from keras_lnn.fields.values import name_steps, parse_duration
from keras_lnn.files.atomic import require_writable
from keras_lnn.hosts.joining import ONE_HOST, Hosts
from keras_lnn.layers.elapsed_time import ElapsedTime, find_median_interval
from keras_lnn.pages.run_page import write_run_page
from keras_lnn.registry import build_model, count_parameters, require_memory_for_model
from keras_lnn.runs.checkpoints import Checkpoint
from keras_lnn.runs.folder import RunFolder
from keras_lnn.runs.selection import Selection
from keras_lnn.saved.export import require_format
from keras_lnn.saved.predictor import batch_size_for
from keras_lnn.saved.signature import Signature, short_data_name, without_places
from keras_lnn.tasks.kinds import make_task
from keras_lnn.terminal import loading, make_console, print_check
from keras_lnn.training.agreement import list_installed, list_options
from keras_lnn.training.averaging import WeightAverage
from keras_lnn.training.compiling import compile_model, compiles_whole_step
from keras_lnn.training.devices import OneDeviceValidation, count_steps, describe_devices, divide_model, require_devices
from keras_lnn.training.epoch_display import EpochDisplay
from keras_lnn.training.protocol import complete_config, is_run_of, name_augmentation
from keras_lnn.training.recorder import Recorder, StopRule
from keras_lnn.training.report import RunReport, write_report
from keras_lnn.training.requirements import (
    lasting_fields,
    require_form,
    require_lasting_fields,
    require_operating_point,
    require_reads,
    require_start,
)
from keras_lnn.training.variables import assign_variables, model_variables


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """The result of a run.

    Args:
        folder: The run's folder.
        metrics: Content of its metrics.json; empty on all hosts but host 0.
    """

    folder: RunFolder
    metrics: dict[str, Any]


def train(
    config: TrainConfig,
    console: Console | None = None,
    *,
    stop_rule: StopRule | None = None,
    hosts: Hosts = ONE_HOST,
) -> TrainResult:
    """Trains, chooses the best epoch on validation, tests it once and writes everything to a new run folder.

    Args:
        config: Configuration of the run; fields left out follow the model's published protocol.
        console: Where progress is shown; standard output if not given.
        stop_rule: Called with the history after each epoch; returns why the run ends there, or an empty string.
        hosts: The hosts that train it together, each of which calls this function.
    """
    console = hosts.choose_console(console or make_console())
    config = complete_config(config)
    if hosts.count > 1:
        hosts.require_same({"--resume": None, **list_installed(), **list_options(config)})
    require_format(config.export)
    require_devices(config, hosts.count)
    before = None if config.start_from is None else RunFolder.open(config.start_from)
    data = load_images(config, console, "seeded" if before is None else before.split_plan())
    config = name_augmentation(config, data)
    if before is not None:
        require_start(before, config, data)
    trainer = _Trainer(config, data, console, stop_rule, hosts)
    hosts.require_same({"data": data.checksum})
    environment = describe_environment() | {"seed": config.seed, "data_checksum": data.checksum}
    environment |= {"hosts": hosts.count} if hosts.count > 1 else {}
    environment["begun_at"] = datetime.datetime.now().isoformat(" ", "minutes")
    environment["begun_with"] = lasting_fields(config)
    folder = hosts.share_folder(
        RunFolder.create(config, environment, SampleRecord.of(data)) if hosts.is_first else None
    )
    return trainer.run(folder, None if before is None else _take_over(folder, before, hosts))


def resume(
    run_dir: Path,
    console: Console | None = None,
    *,
    stop_rule: StopRule | None = None,
    hosts: Hosts = ONE_HOST,
) -> TrainResult:
    """Continues a run from its last whole epoch, with its own configuration.

    Args:
        run_dir: The run's folder.
        console: Where progress is shown; standard output if not given.
        stop_rule: As of :func:`train`; a finished run is left as it is.
        hosts: The hosts that train it together, each of which calls this function.
    """
    console = hosts.choose_console(console or make_console())
    folder = RunFolder.open(run_dir)
    if hosts.count > 1:
        hosts.require_same({"--resume": folder.name, **list_installed()})
    metrics = hosts.share(folder.read_metrics())
    if metrics is not None:
        if hosts.is_first:
            page = write_run_page(folder, metrics)
            console.print(f"{folder.path} is complete; nothing is left to do. Its page, made anew: {page}")
        return TrainResult(folder, metrics)
    start = hosts.read_start(folder, folder.prepare_resume() if hosts.is_first else None)
    config = complete_config(TrainConfig.from_yaml(folder.config))
    hosts.require_same(list_options(config))
    warning = Selection.of(config).warn(start.history) if start is not None else ""
    if warning:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    require_format(config.export)
    require_devices(config, hosts.count)
    require_lasting_fields(folder, config)
    data = load_images(config, console, folder.split_plan())
    known = folder.read_environment().get("data_checksum", data.checksum)
    if data.checksum != known:
        raise InputError(
            f"A run must continue with the data that it began with, {known}. Received: {data.name} with "
            f"{data.checksum}. Restore the old data or begin a new run."
        )
    if start is None and config.start_from is not None:
        before = RunFolder.open(config.start_from)
        require_start(before, config, data)
        start = _take_over(folder, before, hosts)
    elif start is None:
        console.print("there is no complete checkpoint; the run starts again from the beginning")
    trainer = _Trainer(config, data, console, stop_rule, hosts)
    hosts.require_same({"data": data.checksum})
    return trainer.run(folder, start)


def train_or_resume(
    config: TrainConfig, console: Console | None = None, *, stop_rule: StopRule | None = None
) -> TrainResult:
    """Trains in the folder that the configuration names, or resumes this run if it was interrupted there.

    A run of another configuration, or one that was killed at its start, is removed; a folder of other files is an
    error.

    Args:
        config: Configuration of the run, with a ``run_dir``.
        console: Where progress is shown; standard output if not given.
        stop_rule: As of :func:`train`.
    """
    if config.run_dir is None:
        raise ValueError("The configuration must have a run_dir. Received: none. Give one, or call train.")
    if is_run_of(config.run_dir, config):
        return resume(config.run_dir, console, stop_rule=stop_rule)
    RunFolder(config.run_dir).remove()
    return train(config, console, stop_rule=stop_rule)


def _take_over(folder: RunFolder, before: RunFolder, hosts: Hosts) -> Checkpoint | None:
    """Returns the checkpoint of another run that a run begins with, after host 0 has copied it to the run's folder."""
    return hosts.read_start(folder, folder.take_over(before) if hosts.is_first else None)


def load_images(config: TrainConfig, console: Console, plan: SplitPlan = "seeded") -> ImageData:
    """Loads the data of a configuration, and prints the check of own images.

    Args:
        config: A complete configuration.
        console: Console that is printed to.
        plan: How own images are assigned to splits.
    """
    with loading(console, f"loading {config.data}") as progress:
        data = load_data(config.data, Reading.of_run(config), plan=plan, progress=progress)
    if data.check is not None:
        print_check(console, data.check)
    return data


def _learn_intervals(model: keras.Model, data: ImageData) -> None:
    """Gives the model the median time between frames of the training data, by which it divides elapsed times."""
    for layer in model.layers:
        if isinstance(layer, ElapsedTime) and data.series is not None:
            layer.adapt(data.series.times())


def _describe_times(data: ImageData) -> dict[str, Any]:
    """Returns the fields of a signature that series have."""
    if data.series is None:
        return {}
    return {"time_unit": data.series.unit, "median_interval": find_median_interval(data.series.times())}


def _describe_samples(data: ImageData) -> str:
    """Returns what the samples are, and of which shape, such as ``images of 28x28x1``."""
    shape = "x".join(map(str, data.image_shape if data.series is None else data.image_shape[1:]))
    if data.series is None:
        return f"images of {shape}"
    unit = data.series.unit
    return f"series of up to {data.series.steps} frames of {shape} with {name_steps(unit)}s in {unit}"


class _Trainer:
    """The training of one run, from its configuration to its report."""

    def __init__(
        self,
        config: CompleteConfig,
        data: ImageData,
        console: Console,
        stop_rule: StopRule | None = None,
        hosts: Hosts = ONE_HOST,
    ) -> None:
        self.config = config
        self.data = data
        self.console = console
        self.stop_rule = stop_rule
        self.hosts = hosts
        self.divides_batches = config.devices * hosts.count > 1
        self.task = make_task(data.task, data.class_names)
        require_form(config.model, self.task, data.name)
        require_reads(config.model, data)
        require_operating_point(config, self.task)
        # Reported now instead of after the last epoch.
        if config.export != "none":
            require_writable(config.export_dir, "--export-dir")
        self.steps = count_steps(config, data.splits["train"], hosts.count)
        require_memory_for_model(config.model, data.image_shape, self.task.outputs, **config.model_args)
        prepare_backend(config.seed, config.deterministic, config.precision)
        self.model = self._build()
        self.class_weights = self._compile(self.model)
        # Made now, so that a wrong augmentation is reported before a folder is made.
        self.batches = self._batches(0)

    def _build(self) -> keras.Model:
        model = build_model(self.config.model, self.data.image_shape, self.task.outputs, **self.config.model_args)
        _learn_intervals(model, self.data)
        return model

    def _compile(self, model: keras.Model) -> dict | None:
        steps, labels = self.steps * self.config.epochs, self.data.splits["train"].labels
        return compile_model(model, self.task, self.config, steps, labels, len(self.data.splits["val"]))

    def run(self, folder: RunFolder, start: Checkpoint | None) -> TrainResult:
        self._introduce(folder, start)
        try:
            with filling_batches(*self._batch_sizes()):
                recorder = self._fit(folder, start)
                self.hosts.part()
                return self._finish(folder, recorder) if self.hosts.is_first else TrainResult(folder, {})
        except KeyboardInterrupt:
            self.console.print(f"stopped; continue with: python train.py --resume {folder.path}")
            raise

    def _batch_sizes(self) -> list[int]:
        """Returns the largest batch of training, and that of validation and test."""
        counts = {name: len(split) for name, split in self.data.splits.items()}
        measured = max(counts.get("val", 1), counts.get("test", 1))
        return [
            min(self.config.batch_size, counts["train"]),
            min(batch_size_for(self.data.image_shape), measured),
        ]

    def _finish(self, folder: RunFolder, recorder: Recorder) -> TrainResult:
        kept_epoch, _ = recorder.selection.choose(recorder.history)
        report = RunReport(
            folder=folder,
            config=self.config,
            data=self.data,
            signature=self._signature(kept_epoch),
            history=recorder.history,
            confusion=recorder.confusion,
            seconds=recorder.seconds,
            stopped_because=recorder.stopped_because,
        )
        return TrainResult(folder, write_report(report, self.model, self.console))

    def _batches(self, first_epoch: int) -> Any:
        return training_batches(
            self.data.splits["train"],
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            epochs=self.config.epochs,
            first_epoch=first_epoch,
            augmentation=self.config.augmentation,
            devices=self.config.devices * self.hosts.count,
            host=self.hosts.rank,
            hosts=self.hosts.count,
        )

    def _fit(self, folder: RunFolder, start: Checkpoint | None) -> Recorder:
        config, model = self.config, self.model
        if self.divides_batches:
            model = divide_model(model, config.devices, self._build, self._compile)
        else:
            model.optimizer.build(model.trainable_variables)
        if start is not None:
            assign_variables(model_variables(model), start.model)
            assign_variables(model.optimizer.variables, start.optimizer)
        first_epoch = start.epoch if start else 0
        last_epoch = min(config.epochs, config.stop_after or config.epochs)
        recorder = Recorder(
            folder,
            Selection.of(config),
            EpochDisplay(self.console, last_epoch, first_epoch, config.monitor),
            start,
            parse_duration(config.time_budget),
            WeightAverage(config.weight_average, start.average if start else None) if config.weight_average else None,
            self.model,
            self.stop_rule,
            self.hosts,
        )
        if recorder.is_finished(last_epoch):
            return recorder
        # The averages of a step must be updated before its epoch is recorded.
        callbacks: list[Any] = [*([recorder.average] if recorder.average else []), recorder]
        validation = evaluation_batches(self.data.splits["val"], batch_size_for(self.data.image_shape))
        if self.divides_batches and self.hosts.is_first:
            show = recorder.display.show_validation
            callbacks.insert(0, OneDeviceValidation(self.model, validation, show, recorder.average))
        if config.tensorboard and self.hosts.is_first:
            callbacks.append(keras.callbacks.TensorBoard(str(folder.tensorboard), write_graph=False))
        with recorder.display, training_on(config.devices, self.hosts.count):
            model.fit(
                self._batches(first_epoch) if first_epoch else self.batches,
                epochs=last_epoch,
                initial_epoch=first_epoch,
                steps_per_epoch=self.steps,
                validation_data=None if self.divides_batches else validation,
                class_weight=self.class_weights,
                shuffle=False,
                callbacks=callbacks,
                verbose=0,
            )
        return recorder

    def _introduce(self, folder: RunFolder, start: Checkpoint | None) -> None:
        config, splits = self.config, self.data.splits
        counts = ", ".join(f"{len(splits[name]):,} {name}" for name in splits)
        self.console.print(
            f"{config.model} ({count_parameters(self.model):,} parameters) on {config.data}: "
            f"{counts} {_describe_samples(self.data)}, {len(self.task.class_names)} classes ({self.task.kind})"
        )
        begin = f"from epoch {start.epoch + 1}, " if start else ""
        self.console.print(
            f"{begin}{config.epochs} epochs of {self.steps} steps, batch {config.batch_size}, {config.optimizer} "
            f"{config.learning_rate:g} {config.schedule}, augmentation {config.augmentation}, class weights "
            f"{config.class_weight}, seed {config.seed} -> {folder.path}"
        )
        if self.divides_batches:
            self.console.print(describe_devices(config, self.hosts.count))
        if config.xla and not compiles_whole_step(self.model, config):
            self.console.print(
                "--xla: the training step as a whole is not compiled, because on a CPU XLA computes convolutions more"
                " slowly than TensorFlow; recurrences of liquid layers are compiled as always"
            )

    def _signature(self, best_epoch: int) -> Signature:
        from keras_lnn import __version__

        return Signature(
            model=self.config.model,
            model_args=self.config.model_args,
            task=self.data.task,
            class_names=self.data.class_names,
            image_shape=self.data.image_shape,
            data=short_data_name(self.data.name),
            size=self.config.size,
            checksum=self.data.checksum,
            licence=self.data.licence,
            parameters=count_parameters(self.model),
            seed=self.config.seed,
            split_seed=self.config.seed_of_splits,
            fold=self.config.fold,
            best_epoch=best_epoch,
            trained_by=f"keras-lnn {__version__}",
            positive_class=self.task.choose_positive_class(self.config.positive_class, self.data.positive_class),
            colours=self.data.colours,
            mask_values=self.data.mask_values,
            own=without_places(Reading().with_options(self.config).own),
            **_describe_times(self.data),
        )
