"""The catalog of data sets: metadata only; a new data set is one entry here (or one call of ``register_data``)."""

import ast
import dataclasses
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from keras_lnn.data.augment.operations import list_operations
from keras_lnn.errors import InputError, suggest

TFDS, SERIES = "tfds:", "series:"


@dataclasses.dataclass(frozen=True)
class OwnSource:
    """A kind of a user's own images, known by the prefix of a data set's name.

    Args:
        place: The word for what comes after the prefix.
        summary: What the images are, for the list of data sets.
        loader: ``module:function`` that loads them from the place and a
            :class:`~keras_lnn.data.reading.Reading`.
        in_file: Whether the place is a file; else it is a folder. None if it may be either.
        columns: ``module:function`` that returns the names of the columns of its table; None if there is no table.
    """

    place: str
    summary: str
    loader: str
    in_file: bool | None = False
    columns: str | None = None


# A new kind of own images is one module in ``data/sources`` and one entry here.
OWN_SOURCES = {
    "folder:": OwnSource("PATH", "own images in one folder per class", "keras_lnn.data.sources.folders:load_folder"),
    "table:": OwnSource(
        "FILE",
        "own images listed in a table with their labels",
        "keras_lnn.data.sources.tables:load_table",
        in_file=True,
        columns="keras_lnn.data.sources.table_file:list_table_columns",
    ),
    "masks:": OwnSource(
        "DIR",
        "own images with masks for segmentation, which give each pixel a class",
        "keras_lnn.data.sources.masks:load_masks",
        columns="keras_lnn.data.sources.mask_files:list_manifest_columns",
    ),
    "mask-classes:": OwnSource(
        "DIR",
        "the same images, classified by the highest class in their masks",
        "keras_lnn.data.sources.masks:load_mask_classes",
        columns="keras_lnn.data.sources.mask_files:list_manifest_columns",
    ),
    SERIES: OwnSource(
        "PATH",
        "series of own images in time, in a table with their times or in one folder per class and series",
        "keras_lnn.data.sources.series:load_series",
        in_file=None,
        columns="keras_lnn.data.sources.series:list_series_columns",
    ),
}
OTHER_SOURCES = {prefix + source.place: source.summary for prefix, source in OWN_SOURCES.items()}
OTHER_SOURCES[f"{TFDS}NAME"] = "image classification sets of tensorflow-datasets"


@dataclasses.dataclass(frozen=True)
class DataEntry:
    """The metadata of a data set, known before it is loaded.

    Args:
        name: The name by which users request it.
        title: A description of one line.
        task: ``binary``, ``multi-class``, ``ordinal``, ``multi-label`` or ``segmentation``.
        class_names: Names in the order of the label indices.
        channels: 1 for grey, 3 for colour.
        dimensions: 2 for images, 3 for volumes.
        sizes: Available sides in pixels.
        samples: Number of images in each split.
        loader: ``module:function`` that returns an :class:`~keras_lnn.data.arrays.ImageData`. The loader receives the
            arguments whose names it declares: ``entry``, and fields of a ``Reading`` (``keras_lnn/data/reading.py``).
        augmentation: Operations of ``--augmentation``, joined by ``+``, that do not change the labels.
        licence: Licence of the images.
        sources: For each size the address and the MD5 of its file; empty if nothing is downloaded.
        depth: Number of slices of a volume if it differs from its side.
        frames: Number of images in the longest series, for data whose samples are series of images in time.
        positive_class: Which of two classes is the positive one, for sensitivity; None for the second one.
        denser: For series, name of the data that have the same series with more frames in the same time, if any.
    """

    name: str
    title: str
    task: str
    class_names: tuple[str, ...]
    channels: int
    dimensions: int
    sizes: tuple[int, ...]
    samples: Mapping[str, int]
    loader: str
    augmentation: str = "shift-rotate"
    licence: str = ""
    sources: Mapping[int, tuple[str, str]] = dataclasses.field(default_factory=dict)
    depth: int | None = None
    frames: int | None = None
    positive_class: str | None = None
    denser: str | None = None

    def image_shape(self, size: int | None = None) -> tuple[int, ...]:
        """Returns the shape of one image, channels last; of the first size if none is given."""
        sides = (size or self.sizes[0],) * self.dimensions
        first = () if self.frames is None else (self.frames,)
        return (*first, *(sides if self.depth is None else (self.depth, *sides[1:])), self.channels)


_ENTRIES = (
    DataEntry(
        name="phantom-breast",
        title="generated: ultrasound of a lesion in speckle, either smooth and oval or irregular with a shadow",
        task="binary",
        class_names=("malignant", "normal, benign"),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 1000, "val": 200, "test": 400},
        loader="keras_lnn.data.phantoms.breast_and_vessel:phantom_breast",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
        positive_class="malignant",
    ),
    DataEntry(
        name="phantom-vessel",
        title="generated: volumes of vessels with or without an aneurysm",
        task="binary",
        class_names=("vessel", "aneurysm"),
        channels=1,
        dimensions=3,
        sizes=(28,),
        samples={"train": 1000, "val": 150, "test": 300},
        loader="keras_lnn.data.phantoms.breast_and_vessel:phantom_vessel",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
    ),
    DataEntry(
        name="phantom-chest",
        title="generated: radiographs of the chest with findings that occur together",
        task="multi-label",
        class_names=(
            "cardiomegaly",
            "effusion",
            "infiltration",
            "nodule",
            "pneumothorax",
            "support device",
            "hernia",
        ),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 2000, "val": 400, "test": 1000},
        loader="keras_lnn.data.phantoms.chest:phantom_chest",
        licence="Apache-2.0 (generated)",
    ),
    DataEntry(
        name="phantom-liver",
        title="generated: slices of the abdomen with masks of liver and tumours",
        task="segmentation",
        class_names=("background", "liver", "tumour"),
        channels=1,
        dimensions=2,
        sizes=(64, 32, 128),
        samples={"train": 320, "val": 60, "test": 120},
        loader="keras_lnn.data.phantoms.liver:phantom_liver",
        licence="Apache-2.0 (generated)",
    ),
    DataEntry(
        name="phantom-liver-volumes",
        title="generated: volumes of eight noisy neighbouring slices of the same patients, with masks",
        task="segmentation",
        class_names=("background", "liver", "tumour"),
        channels=1,
        dimensions=3,
        sizes=(64, 32, 128),
        samples={"train": 96, "val": 18, "test": 36},
        loader="keras_lnn.data.phantoms.liver:phantom_liver_volumes",
        licence="Apache-2.0 (generated)",
        depth=8,
    ),
    DataEntry(
        name="phantom-liver-classes",
        title="generated: the slices of phantom-liver, classified by what their masks show",
        task="multi-class",
        class_names=("no liver", "liver", "lesion"),
        channels=1,
        dimensions=2,
        sizes=(64, 32, 128),
        samples={"train": 320, "val": 60, "test": 120},
        loader="keras_lnn.data.phantoms.liver:phantom_liver_classes",
        licence="Apache-2.0 (generated)",
    ),
    DataEntry(
        name="phantom-perfusion",
        title="generated: series of a lesion after contrast agent, which goes on brightening or washes out",
        task="binary",
        class_names=("persistent", "wash-out"),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 1000, "val": 200, "test": 400},
        loader="keras_lnn.data.phantoms.series:phantom_perfusion",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
        frames=12,
        denser="phantom-perfusion-dense",
    ),
    DataEntry(
        name="phantom-perfusion-curves",
        title="generated: the same kind of series by three types of curves",
        task="multi-class",
        class_names=("persistent", "plateau", "wash-out"),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 1000, "val": 200, "test": 400},
        loader="keras_lnn.data.phantoms.series:phantom_perfusion_curves",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
        frames=12,
    ),
    DataEntry(
        name="phantom-growth",
        title="generated: series of a lesion that grows slowly or fast, seen at uneven months",
        task="binary",
        class_names=("slow", "fast"),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 1000, "val": 200, "test": 400},
        loader="keras_lnn.data.phantoms.series:phantom_growth",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
        frames=8,
        denser="phantom-growth-dense",
    ),
    DataEntry(
        name="phantom-perfusion-dense",
        title="generated: the series of phantom-perfusion with about twice as many frames in the same time",
        task="binary",
        class_names=("persistent", "wash-out"),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 1000, "val": 200, "test": 400},
        loader="keras_lnn.data.phantoms.series:phantom_perfusion_dense",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
        frames=23,
    ),
    DataEntry(
        name="phantom-growth-dense",
        title="generated: the series of phantom-growth with about twice as many visits in the same time",
        task="binary",
        class_names=("slow", "fast"),
        channels=1,
        dimensions=2,
        sizes=(28,),
        samples={"train": 1000, "val": 200, "test": 400},
        loader="keras_lnn.data.phantoms.series:phantom_growth_dense",
        augmentation="mirror",
        licence="Apache-2.0 (generated)",
        frames=15,
    ),
)

# Left and right distinguish organs (a kidney, the heart's side), so those sets are never flipped.
_MEDMNIST_AUGMENTATION = {
    "pathmnist": "any-orientation",
    "chestmnist": "shift-rotate",
    "dermamnist": "any-orientation",
    "octmnist": "mirror",
    "pneumoniamnist": "shift-rotate",
    "retinamnist": "mirror",
    "breastmnist": "mirror",
    "bloodmnist": "any-orientation",
    "tissuemnist": "any-orientation",
    "organamnist": "shift-rotate",
    "organcmnist": "shift-rotate",
    "organsmnist": "shift-rotate",
    "organmnist3d": "shift-rotate",
}
# In the other sets with two classes the second one is the positive class.
_MEDMNIST_POSITIVE = {"breastmnist": "malignant"}
_MEDMNIST_TASKS = {
    "binary-class": "binary",
    "multi-class": "multi-class",
    "ordinal-regression": "ordinal",
    "multi-label, binary-class": "multi-label",
}
_REGISTERED: dict[str, DataEntry] = {}


def register_data(entry: DataEntry) -> DataEntry:
    """Adds a data set from outside the catalog; its name must be new, and its augmentation must exist."""
    if entry.name in catalog():
        raise ValueError(f"A data set name must be new. Received: {entry.name}, which is in the catalog already.")
    if entry.positive_class is not None and (entry.task != "binary" or entry.positive_class not in entry.class_names):
        raise ValueError(
            f"positive_class must be one of two classes. Received: {entry.positive_class} for the {entry.task} classes "
            f"{', '.join(entry.class_names)}. Name one of two classes, or leave it out."
        )
    list_operations(entry.augmentation)
    _REGISTERED[entry.name] = entry
    return entry


def catalog() -> dict[str, DataEntry]:
    """Returns all data sets by name, the embedded ones first."""
    return {entry.name: entry for entry in (*_ENTRIES, *_medmnist_entries())} | _REGISTERED


def get_entry(name: str) -> DataEntry:
    """Returns the entry of a name; an unknown name raises an :class:`InputError` that lists the nearest names."""
    entries = catalog()
    if name not in entries:
        raise InputError(
            f"There is no data set {name!r}. {suggest(name, entries)} Own images are {_list_own()}, sets of"
            " tensorflow-datasets are tfds:NAME; those that a module of your own registers need --imports."
        )
    return entries[name]


def is_own(name: str) -> bool:
    """Returns whether a name is that of a user's own image files."""
    return name.startswith(tuple(OWN_SOURCES))


def is_series(name: str) -> bool:
    """Returns whether the samples of a data set are series of images in time."""
    if is_own(name):
        return name.startswith("series:")
    return not name.startswith(TFDS) and get_entry(name).frames is not None


def find_denser(name: str) -> str | None:
    """Returns the name of the data with the same series at a higher frame rate; None if there are none."""
    entry = catalog().get(name)
    return None if entry is None else entry.denser


def split_own(name: str) -> tuple[OwnSource, str]:
    """Returns the kind of a user's own images, and the place that their name gives."""
    prefix = next(prefix for prefix in OWN_SOURCES if name.startswith(prefix))
    return OWN_SOURCES[prefix], name.removeprefix(prefix)


def _list_own() -> str:
    *others, last = (prefix + source.place for prefix, source in OWN_SOURCES.items())
    return f"{', '.join(others)} or {last}"


def require_data(name: str) -> None:
    """Checks that a data set of this name can be requested, without reading it."""
    if not is_own(name) and not name.startswith(TFDS):
        get_entry(name)


def require_source(name: str, image_dir: Path | None = None) -> None:
    """Checks that the files of a user's own images exist, without reading them.

    Args:
        name: Name of the data set; names of other kinds pass.
        image_dir: The folder of a table's images; None for the table's own.
    """
    if not is_own(name):
        return
    source, place = split_own(name)
    path = Path(place)
    if source.in_file is not False:
        if not path.exists():
            what = "table" if source.in_file else "table or the folder of series"
            raise InputError(f"The {what} must exist. Received: {path}. Check the path.")
    elif not path.is_dir():
        raise InputError(f"The folder of images must exist. Received: {path}. Check the path.")
    if image_dir is not None and not image_dir.is_dir():
        there = "a file" if image_dir.exists() else "not there"
        raise InputError(f"--image-dir must be the folder of images. Received: {image_dir}, which is {there}.")


@functools.cache
def _medmnist_entries() -> tuple[DataEntry, ...]:
    return tuple(_medmnist_entry(name, info) for name, info in _medmnist_info().items())


def _medmnist_entry(name: str, info: dict) -> DataEntry:
    sources = {
        size: (info[f"url{suffix}"], info[f"MD5{suffix}"])
        for size, suffix in ((28, ""), (64, "_64"), (128, "_128"), (224, "_224"))
        if f"url{suffix}" in info
    }
    dimensions = 3 if name.endswith("3d") else 2
    return DataEntry(
        name=name,
        title=info["description"].split(". ")[0].removeprefix("The ").rstrip("."),
        task=_MEDMNIST_TASKS[info["task"]],
        class_names=tuple(info["label"][str(index)] for index in range(len(info["label"]))),
        channels=info["n_channels"],
        dimensions=dimensions,
        sizes=tuple(sources),
        samples=info["n_samples"],
        loader="keras_lnn.data.sources.medmnist:load_medmnist",
        augmentation=_MEDMNIST_AUGMENTATION.get(name, "mirror"),
        licence=info["license"],
        sources=sources,
        positive_class=_MEDMNIST_POSITIVE.get(name),
    )


def _medmnist_info() -> dict[str, dict]:
    """Reads ``INFO`` of medmnist without running it: importing the package prints a line and creates a folder."""
    package = importlib.util.find_spec("medmnist")
    folders = None if package is None else package.submodule_search_locations
    if not folders:
        raise ModuleNotFoundError(
            "medmnist must be installed, because it describes the data sets of MedMNIST. Install medmnist 3.0.2.",
            name="medmnist",
        )
    source = Path(folders[0], "info.py").read_text(encoding="utf-8")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ["INFO"]:
            return ast.literal_eval(statement.value)
    raise ImportError("medmnist has no INFO table; install medmnist 3.0.2 or a version that has one.")
