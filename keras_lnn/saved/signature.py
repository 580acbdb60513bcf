"""The signature of a saved model: its input, outputs and origin, stored inside every exported file."""

import dataclasses
import json
import math
import re
import zipfile
from pathlib import Path
from typing import Any

from keras_lnn.data.options import FITS, LABELS_OF, STEPS_ALONG, OwnImages
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.fields.options import DataOptions
from keras_lnn.fields.roles import Trait, fields_with
from keras_lnn.fields.values import parse_fold
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, atomic_path, is_file
from keras_lnn.saved.ensembles import Ensemble
from keras_lnn.saved.formats import PRECISIONS
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.kinds import KINDS, make_task
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.referral import Referral
from keras_lnn.tasks.task import Task
from keras_lnn.tasks.thresholds import parse_threshold

SIGNATURE_FILE = "keras_lnn.json"
SAMPLES_FILE = "keras_lnn_samples.json"
_FORMAT = 1
# Keras packs nothing; the list of samples may be half as large when it is packed.
_MOST_UNPACKED = 20
# What a signature can say: more is no model, and would be allocated.
_MOST_CLASSES, _LARGEST_SIDE, _MOST_VALUES = 10_000, 2**14, 2**28

# Options of own images that a model remembers, as fields of its file. Paths are private, and differ between machines;
# the unit of times is that of the model, whether or not it was asked for.
_RECORDED_OPTIONS = tuple(
    field.name
    for field in dataclasses.fields(OwnImages)
    if field.name not in (*fields_with(DataOptions, Trait.PLACE), "time_unit", "model_unit")
)


@dataclasses.dataclass(frozen=True)
class Signature:
    """The signature of a model.

    Args:
        model: The registered name of the model.
        model_args: Arguments of its builder.
        task: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation``.
        class_names: One name per output.
        image_shape: The shape of one raw uint8 image, channels last.
        data: The name of the training data set.
        size: The requested side in pixels, or None.
        checksum: The checksum of the data.
        licence: The licence of the data.
        parameters: The number of trained parameters.
        seed: The seed of the training run.
        best_epoch: Epoch chosen on validation, or None where it was not trained here.
        trained_by: Version of this package, or where the weights came from.
        thresholds: The probability above which each of two classes or of several labels is predicted, chosen on
            validation; None for 0.5.
        threshold_rule: How they were chosen, as ``--threshold`` takes it; None where they were not.
        calibration: What is done to the logits before they become probabilities, fitted on validation; None for
            nothing. A ``.keras`` model gives the logits as they were before.
        sets: How the set of classes of a sample is chosen, from validation; None for no sets.
        referral: Which samples are referred to a human, from validation; None where nobody asked for it.
        positive_class: The class to which sensitivity, precision and F1 refer; None for the second of two classes.
        split_seed: The seed of the splits of data without splits of their own, and of folds; None for the seed of the
            run.
        fold: The fold that was tested and their number, such as ``2/5``; None for a run that was not one of several
            folds.
        colours: The colour of each class in coloured masks, as ``#rrggbb``; None for class indices.
        mask_values: The grey value of each class in masks that do not hold class indices; None for indices.
        own: The options for reading own images, which also apply to files to predict; paths are not stored.
        time_unit: For series of images, the unit of the times of their frames, such as ``minutes``, or ``mm`` if they
            have positions in place of times; None for images.
        median_interval: For series, the median time from one frame to the next in the training data.
        ensemble: The models that it joins; None for a single model.
        precision: The lower precision in which it was exported, such as ``int8``; None for that of its training.
    """

    model: str
    model_args: dict[str, Any]
    task: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    data: str
    size: int | None
    checksum: str
    licence: str
    parameters: int
    seed: int | None
    best_epoch: int | None
    trained_by: str
    thresholds: tuple[float, ...] | None = None
    threshold_rule: str | None = None
    calibration: Calibration | None = None
    sets: PredictionSets | None = None
    referral: Referral | None = None
    positive_class: str | None = None
    split_seed: int | None = None
    fold: str | None = None
    colours: tuple[str, ...] | None = None
    mask_values: tuple[int, ...] | None = None
    own: OwnImages = dataclasses.field(default_factory=OwnImages)
    time_unit: str | None = None
    median_interval: float | None = None
    ensemble: Ensemble | None = None
    precision: str | None = None

    @property
    def samples(self) -> str:
        """Returns what the samples are, in the plural: ``images`` or ``series``."""
        return "images" if self.time_unit is None else "series"

    def get_task(self) -> Task:
        """Returns what the model has learned to predict, with its calibration."""
        return make_task(self.task, self.class_names, self.calibration)

    def find_promised(self, probabilities: Any) -> dict[str, Any]:
        """Returns what the model gives beside its predictions where its run has chosen how, by the names of outputs.

        Args:
            probabilities: (samples, classes), a NumPy array or a tensor, also within a graph.

        Returns:
            ``set``, which classes belong to the set of each sample, bool (samples, classes), and ``refer``, whether
            each sample is referred to a human, bool (samples,).
        """
        rules = {"set": self.sets, "refer": self.referral}
        if not any(rules.values()):
            return {}
        decided = self.get_task().decide(probabilities, self.thresholds)
        return {
            name: rule.decide(probabilities, decided, self.thresholds)
            for name, rule in rules.items()
            if rule is not None
        }

    def to_json(self) -> dict[str, Any]:
        """Returns the signature as plain JSON content, in which the options of own images stand beside the others."""
        fields = dataclasses.asdict(self)
        own = fields.pop("own")
        task, shape = self.get_task(), [None, *self.image_shape]
        output = [None, *task.output_shape(self.image_shape)]
        series = {} if self.time_unit is None else {"times": self._describe_times()}
        return {
            "format": _FORMAT,
            "made_by": "keras-lnn",
            **series,
            "input": {"name": "images", "dtype": "uint8", "shape": shape, "values": "0..255, no preprocessing"},
            "output": {"name": "probabilities", "dtype": "float32", "shape": output},
            "decision": task.describe_decision(self.image_shape),
            **self._describe_promised(),
            **fields,
            **{name: own[name] for name in _RECORDED_OPTIONS},
        }

    def require_series(self, model: str, option: str) -> None:
        """Checks that the model reads series.

        Args:
            model: Name of the model, for the message.
            option: The option that needs series.
        """
        if self.time_unit is None:
            raise InputError(
                f"{option} is for models of series of images in time. Received: {model}, which reads images. Leave it"
                " out."
            )

    def _describe_promised(self) -> dict[str, Any]:
        """Returns what the outputs of :meth:`find_promised` are."""
        outputs = {}
        if self.sets is not None:
            outputs["set_output"] = {"name": "set", "dtype": "bool", "shape": [None, len(self.class_names)]}
        if self.referral is not None:
            outputs["refer_output"] = {"name": "refer", "dtype": "bool", "shape": [None]}
        return outputs

    def _describe_times(self) -> dict[str, Any]:
        """Returns what the inputs beside the images of series are."""
        times = {"name": "times", "dtype": "float32", "shape": [None, self.image_shape[0]], "unit": self.time_unit}
        return {"times": times, "lengths": {"name": "lengths", "dtype": "int32", "shape": [None]}}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Signature":
        """Reads what :meth:`to_json` gives."""
        if not isinstance(content, dict) or content.get("made_by") != "keras-lnn" or content.get("format") != _FORMAT:
            raise ValueError("not a signature of this package")
        fields = [field for field in dataclasses.fields(cls) if field.name != "own"]
        missing = (dataclasses.MISSING, dataclasses.MISSING)
        required = {field.name for field in fields if (field.default, field.default_factory) == missing}
        values: dict[str, Any] = {
            name: tuple(content[name]) if isinstance(content[name], list) else content[name]
            for name in (*(field.name for field in fields), *_RECORDED_OPTIONS)
            if name in required | content.keys()
        }
        if values.get("calibration") is not None:
            values["calibration"] = _read_calibration(values["calibration"])
        for name, read in (("sets", _read_sets), ("referral", _read_referral), ("ensemble", Ensemble.from_json)):
            if values.get(name) is not None:
                values[name] = read(values[name])
        own = OwnImages(**{name: values.pop(name) for name in _RECORDED_OPTIONS if name in values})
        found = cls(**values, own=own)
        _check_content(found)
        return found


def _read_calibration(content: Any) -> Calibration:
    """Returns the calibration of a signature in JSON."""
    if not isinstance(content, dict) or set(content) != {"method", "scales", "offsets"}:
        raise ValueError("calibration must have method, scales and offsets")
    numbers = (content["scales"], content["offsets"])
    if not all(isinstance(values, list | tuple) and all(map(_is_number, values)) for values in numbers):
        raise ValueError("scales and offsets of a calibration must be numbers")
    return Calibration(content["method"], tuple(content["scales"]), tuple(content["offsets"]))


def _read_sets(content: Any) -> PredictionSets:
    """Returns the prediction sets of a signature in JSON."""
    if not isinstance(content, dict) or set(content) != {"coverage", "by_class", "levels"}:
        raise ValueError("sets must have coverage, by_class and levels")
    levels = content["levels"]
    if not isinstance(levels, list | tuple) or not all(map(_is_number, [content["coverage"], *levels])):
        raise ValueError("coverage and levels of sets must be numbers")
    return PredictionSets(content["coverage"], content["by_class"], tuple(levels))


def _read_referral(content: Any) -> Referral:
    """Returns the referral of a signature in JSON."""
    if not isinstance(content, dict) or set(content) != {"risk", "confidence"}:
        raise ValueError("referral must have risk and confidence")
    if not _is_number(content["risk"]) or not (content["confidence"] is None or _is_number(content["confidence"])):
        raise ValueError("risk and confidence of a referral must be numbers")
    return Referral(content["risk"], content["confidence"])


def _check_content(signature: Signature) -> None:
    """Checks that the fields have their types and fit each other; what they say is used to allocate and to index."""
    names, shape, task = signature.class_names, signature.image_shape, signature.task
    texts = (signature.model, signature.data, signature.checksum, signature.licence, signature.trained_by)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("model, data, checksum, licence and trained_by must be text")
    if not _are_texts(names) or not 1 <= len(set(names)) == len(names) <= _MOST_CLASSES:
        raise ValueError(f"class_names must be 1 to {_MOST_CLASSES:,} different names")
    if not isinstance(task, str) or task not in KINDS:
        raise ValueError(f"task must be one of {', '.join(KINDS)}")
    if not KINDS[task].can_have(len(names)):
        raise ValueError(f"a {task} task has other classes than {len(names)}")
    sides = isinstance(shape, tuple) and all(_is_whole(side) and 1 <= side <= _LARGEST_SIDE for side in shape)
    if not sides or len(shape) not in (3, 4) or math.prod(shape) > _MOST_VALUES:
        raise ValueError("image_shape must be three or four sides that an image can have")
    _check_decisions(signature)
    window = signature.own.window
    if window is not None and not (len(window) == 2 and all(map(_is_number, window)) and window[1] > 0):
        raise ValueError("window must be a centre and a width")
    colours = signature.colours
    if colours is not None and not (
        len(colours) == len(names) and all(isinstance(x, str) and re.fullmatch("#[0-9a-f]{6}", x) for x in colours)
    ):
        raise ValueError("colours must be #rrggbb for each class")
    _check_options(signature)


def _check_decisions(signature: Signature) -> None:
    """Checks the thresholds, which are compared with probabilities, and the positive class, which is looked up."""
    task, levels, rule = signature.get_task(), signature.thresholds, signature.threshold_rule
    if levels is not None:
        numbers = isinstance(levels, tuple) and all(map(_is_number, levels))
        if not numbers or not task.are_thresholds(levels):
            raise ValueError(
                "thresholds must be one number from 0 to 1 for each of two classes or of several labels, and those of"
                " two classes must sum to one"
            )
    if rule is not None:
        if not isinstance(rule, str):
            raise ValueError("threshold_rule must be text")
        parse_threshold(rule)
    if signature.calibration is not None and not (
        signature.calibration.method in task.calibrations and signature.calibration.fits(task.outputs)
    ):
        raise ValueError("calibration must have positive scales and offsets, one for all or one for each class")
    _check_promised(signature)
    positive = signature.positive_class
    if positive is not None and not (task.has_positive_class and positive in task.class_names):
        raise ValueError("positive_class must be one of two classes")


def _check_promised(signature: Signature) -> None:
    """Checks prediction sets, whose levels are compared with probabilities, and the referral."""
    sets, referral, task = signature.sets, signature.referral, signature.get_task()
    if (sets or referral) and task.without_sets is not None:
        raise ValueError(f"a {task.kind} task has neither sets nor a referral")
    if sets is not None and not sets.fits(len(signature.class_names)):
        raise ValueError("sets must have a coverage between 0 and 1 and one level from 0 to 1 for each class")
    if referral is not None and not referral.is_valid():
        raise ValueError("referral must have a risk between 0 and 1 and a confidence from 0 to 1")


def _check_options(signature: Signature) -> None:
    """Checks the fields that say how data were read, and those that are only shown."""
    if not isinstance(signature.model_args, dict) or signature.own.fit not in FITS:
        raise ValueError("model_args must be a mapping and fit one of " + ", ".join(FITS))
    for name in ("size", "seed", "split_seed", "best_epoch"):
        value = getattr(signature, name)
        if value is not None and not (_is_whole(value) and 0 <= value < 2**31):
            raise ValueError(f"{name} must be a whole number")
    if signature.fold is not None:
        parse_fold(signature.fold)
    if not _is_whole(signature.parameters) or not isinstance(signature.own.skip_bad, bool):
        raise ValueError("parameters must be a whole number and skip_bad true or false")
    for name in ("file_column", "split_column", "group_column", "series_column", "time_column", "position_column"):
        if not isinstance(getattr(signature.own, name), str | None):
            raise ValueError(f"{name} must be text")
    if not _is_whole(signature.own.max_steps) or signature.own.max_steps < 1:
        raise ValueError("max_steps must be a whole number of at least 1")
    if signature.own.label_of not in LABELS_OF:
        raise ValueError("label_of must be one of " + ", ".join(LABELS_OF))
    if signature.own.steps_along not in STEPS_ALONG:
        raise ValueError("steps_along must be one of " + ", ".join(STEPS_ALONG))
    unit, interval = signature.time_unit, signature.median_interval
    if unit is not None and not (isinstance(unit, str) and re.fullmatch(r"[\w%/. -]{1,40}", unit)):
        raise ValueError("time_unit must be the name of a unit")
    if interval is not None and not (_is_number(interval) and interval > 0):
        raise ValueError("median_interval must be a positive number")
    if signature.precision is not None and signature.precision not in PRECISIONS:
        raise ValueError("precision must be one of " + ", ".join(PRECISIONS))
    if unit is not None and len(signature.image_shape) != 4:
        raise ValueError("image_shape of series must be (frames, height, width, channels)")
    if signature.own.label_columns is not None and not _are_texts(signature.own.label_columns):
        raise ValueError("label_columns must be names")


def _are_texts(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) for value in values)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def read_signature(path: Path) -> Signature:
    """The signature of a ``.keras`` file or an exported folder; a model of somebody else is a clear error."""
    try:
        if path.is_dir():
            text = (path / SIGNATURE_FILE).read_text(encoding="utf-8")
        elif not is_file(path):
            raise ValueError("a pipe or a device")
        else:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
                if unpacked > _MOST_UNPACKED * path.stat().st_size:
                    raise zipfile.BadZipFile(f"{unpacked:,} bytes in a small file")
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile("damaged")
                text = archive.read(SIGNATURE_FILE).decode("utf-8")
        return Signature.from_json(json.loads(text))
    except (*DAMAGED_FILE_ERRORS, RecursionError) as error:
        raise InputError(
            f"A model must be a whole one that keras-lnn has saved (a run, a .keras file or an exported folder). "
            f"Received: {path} ({error}). Foreign weights come in by: python -m keras_lnn import."
        ) from None


def without_places(own: OwnImages) -> OwnImages:
    """Returns how own images are read, without paths, which are private and differ between machines."""
    return OwnImages(**{name: getattr(own, name) for name in _RECORDED_OPTIONS})


def short_data_name(name: str) -> str:
    """Returns the name of a data set without the folders above it, which are private."""
    return re.sub(r"^(folder:|table:|masks:|mask-classes:).*/(?=[^/]+/*$)", r"\1", name)


def read_samples(path: Path) -> SampleRecord | None:
    """Returns the samples that a ``.keras`` file or an exported folder carries; None where it carries none."""
    try:
        if path.is_dir():
            text = (path / SAMPLES_FILE).read_text(encoding="utf-8") if (path / SAMPLES_FILE).exists() else None
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(SAMPLES_FILE).decode("utf-8") if SAMPLES_FILE in archive.namelist() else None
        return None if text is None else SampleRecord.from_json(json.loads(text))
    except DAMAGED_FILE_ERRORS as error:
        raise InputError(
            f"The samples of a model must be as keras-lnn has saved them. Received: {path} with {SAMPLES_FILE} damaged"
            f" ({error}). Export the model again."
        ) from None


def save_keras(model: Any, signature: Signature, path: Path, samples: SampleRecord | None = None) -> None:
    """Saves a ``.keras`` file that carries its signature and its samples, atomically."""
    with atomic_path(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(SIGNATURE_FILE, json.dumps(signature.to_json(), indent=2))
            if samples is not None:
                archive.writestr(SAMPLES_FILE, json.dumps(samples.to_json(), indent=0))
