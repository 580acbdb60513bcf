"""What a saved model is: its input, its outputs and where it comes from, carried inside every file that we write."""

import dataclasses
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from keras_lnn.data.options import OwnImages
from keras_lnn.data.samples import SampleRecord
from keras_lnn.errors import InputError
from keras_lnn.files import DAMAGED_FILE_ERRORS, atomic_path
from keras_lnn.tasks import Task

SIGNATURE_FILE = "keras_lnn.json"
SAMPLES_FILE = "keras_lnn_samples.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Signature:
    """The signature of a model.

    Args:
        model: Registered name.
        model_args: Arguments of its builder.
        task: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation``.
        class_names: One name an output.
        image_shape: Of one raw uint8 image, channels last.
        data: Name of the data set that it learned from.
        size: Side in pixels as asked for, or None.
        checksum: Of the data.
        licence: Of the data.
        parameters: Numbers that were learned.
        seed: Of the training run.
        best_epoch: Epoch chosen on validation, or None where it was not trained here.
        trained_by: Version of this package, or where the weights came from.
        thresholds: Above which probability each of two classes or of several labels is predicted, chosen on validation;
            None for 0.5.
        threshold_rule: How they were chosen, as ``--threshold`` takes it; None where they were not.
        positive_class: Which of two classes sensitivity, precision and F1 speak of; None for the second one.
        fit: How image files get their size, ``stretch`` or ``pad``.
        window: Centre and width of the values shown of files with more than 8 bits; None for what the files say.
        split_seed: Of the splits, where the data came without; None for the run's.
        colours: Of masks that were coloured, the colour of each class as ``#rrggbb``; None for class indices.
        file_column: Column of file names by which the data were read; None where it was found by its name.
        label_columns: Columns of labels, likewise.
        split_column: Column of splits, likewise.
        group_column: Column of groups, likewise.
        skip_bad: Whether missing and unreadable files were left out.
        mask_values: Of masks with other grey values than class indices, the value of each class; None for indices.
        mask_threshold: Brightness above which a pixel of a mask was in the class; None where values were taken as are.
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
    positive_class: str | None = None
    fit: str = "stretch"
    window: tuple[float, float] | None = None
    split_seed: int | None = None
    colours: tuple[str, ...] | None = None
    file_column: str | None = None
    label_columns: tuple[str, ...] | None = None
    split_column: str | None = None
    group_column: str | None = None
    skip_bad: bool = False
    mask_values: tuple[int, ...] | None = None
    mask_threshold: float | None = None

    def own_images(self) -> OwnImages:
        """Returns how the data were read; where their images are is not known."""
        fields = {field.name for field in dataclasses.fields(OwnImages)} - {"image_dir"}
        return OwnImages(**{name: getattr(self, name) for name in fields})

    def get_task(self) -> Task:
        """What the model answers."""
        return Task(self.task, self.class_names)

    def to_json(self) -> dict[str, Any]:
        """The signature as plain JSON content."""
        shape, pixels, classes = [None, *self.image_shape], [None, *self.image_shape[:-1]], len(self.class_names)
        of_masks = self.get_task().has_masks
        output = [*pixels, classes] if of_masks else [None, classes]
        decision = {"name": "predicted", "dtype": "bool", "shape": [None, classes]}
        if of_masks:
            decision = {"name": "mask", "dtype": "uint8", "shape": pixels, "values": "class indices"}
        return {
            "format": _FORMAT,
            "made_by": "keras-lnn",
            "input": {"name": "images", "dtype": "uint8", "shape": shape, "values": "0..255, no preprocessing"},
            "output": {"name": "probabilities", "dtype": "float32", "shape": output},
            "decision": decision,
            **dataclasses.asdict(self),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Signature":
        """Reads what :meth:`to_json` gives."""
        if content.get("made_by") != "keras-lnn" or content.get("format") != _FORMAT:
            raise ValueError("not a signature of this package")
        fields = dataclasses.fields(cls)
        required = {field.name for field in fields if field.default is dataclasses.MISSING}
        values = {field.name: content[field.name] for field in fields if field.name in required | content.keys()}
        if not isinstance(values["data"], str) or not all(isinstance(name, str) for name in values["class_names"]):
            raise ValueError("names must be text")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values | lists)


def read_signature(path: Path) -> Signature:
    """The signature of a ``.keras`` file or an exported folder; a model of somebody else is a clear error."""
    try:
        if path.is_dir():
            text = (path / SIGNATURE_FILE).read_text(encoding="utf-8")
        else:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile("damaged")
                text = archive.read(SIGNATURE_FILE).decode("utf-8")
        return Signature.from_json(json.loads(text))
    except DAMAGED_FILE_ERRORS:
        raise InputError(
            f"A model must be a whole one that keras-lnn has saved (a run, a .keras file or an exported folder). "
            f"Received: {path}. Foreign weights come in by: python -m keras_lnn import."
        ) from None


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
