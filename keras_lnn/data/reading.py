"""The one description of how a data set is read, which passes unchanged from a command to the loader of a source.

Command lines, configuration files and the signatures of models hold the same fields flat, so that people can read and
write them. Between these everything is handed on as one object, so that no command can forget a field.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_lnn.data.decode.images import Progress
from keras_lnn.data.options import OwnImages
from keras_lnn.data.samples import SplitPlan
from keras_lnn.fields.options import DataOptions
from keras_lnn.fields.values import parse_window

if TYPE_CHECKING:
    from keras_lnn.config import TrainConfig

_OWN_SIDE = 64


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a data set is read, whatever its source.

    Args:
        size: Side in pixels, for own images also height and width; None for the first one of a set of the catalog, 64
            for own images, and their own size for tfds.
        data_dir: Folder of the data files, searched before the usual places.
        accept_checksum: Whether to accept a file with another checksum if its arrays are right.
        own: Columns and folders of own images, and how their files become pixels.
        channels: Channels of own images, 1 (grey) or 3 (colour); None for those of their files.
        seed: Seed for splitting data sets that have no splits of their own, and for folds.
        plan: How own images get their splits.
        fold: The fold that is tested and their number, such as ``2/5``, see :mod:`keras_lnn.data.folds`; None to keep
            the splits.
        progress: Called with the fraction done if reading takes long.
    """

    size: int | tuple[int, int] | None = None
    data_dir: Path | str | None = None
    accept_checksum: bool = False
    own: OwnImages = dataclasses.field(default_factory=OwnImages)
    channels: int | None = None
    seed: int = 0
    plan: SplitPlan = "seeded"
    fold: str | None = None
    progress: Progress | None = None

    @property
    def own_side(self) -> int | tuple[int, int]:
        """Returns the side of own images, for volumes also their depth."""
        return self.size or _OWN_SIDE

    def with_options(self, options: DataOptions) -> Reading:
        """Returns the reading that options ask for, with the values of this one for options that were not given.

        Args:
            options: Options of a command line or fields of a configuration.
        """
        given = {name: getattr(options, name) for name in DataOptions.model_fields if name in options.model_fields_set}
        own_fields = {field.name for field in dataclasses.fields(OwnImages)}
        own: dict[str, Any] = {name: value for name, value in given.items() if name in own_fields and value is not None}
        if "window" in own:
            own["window"] = parse_window(own["window"])
        others = {name: value for name, value in given.items() if name not in own_fields}
        return dataclasses.replace(self, own=dataclasses.replace(self.own, **own), **others)

    @classmethod
    def of_run(cls, config: TrainConfig) -> Reading:
        """Returns how the data of a run are read, with its seed of splits and its fold."""
        return dataclasses.replace(cls().with_options(config), seed=config.seed_of_splits, fold=config.fold)

    def part(self, begin: float, end: float) -> Reading:
        """Returns the same reading as a part of a longer one, which is reported from ``begin`` to ``end``."""
        whole = self.progress
        if whole is None:
            return self
        return dataclasses.replace(self, progress=lambda fraction: whole(begin + (end - begin) * fraction))
