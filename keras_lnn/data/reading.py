"""The one description of how a data set is read, which passes unchanged from a command to the loader of a source."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from keras_lnn.data.decode.images import Progress
from keras_lnn.data.options import OwnImages
from keras_lnn.data.samples import SplitPlan

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
        seed: Seed for splitting data sets that have no splits of their own.
        plan: How own images get their splits.
        progress: Called with the fraction done if reading takes long.
    """

    size: int | tuple[int, int] | None = None
    data_dir: Path | str | None = None
    accept_checksum: bool = False
    own: OwnImages = dataclasses.field(default_factory=OwnImages)
    channels: int | None = None
    seed: int = 0
    plan: SplitPlan = "seeded"
    progress: Progress | None = None

    @property
    def own_side(self) -> int | tuple[int, int]:
        """Returns the side of own images, for volumes also their depth."""
        return self.size or _OWN_SIDE

    def part(self, begin: float, end: float) -> Reading:
        """Returns the same reading as a part of a longer one, which is reported from ``begin`` to ``end``."""
        whole = self.progress
        if whole is None:
            return self
        return dataclasses.replace(self, progress=lambda fraction: whole(begin + (end - begin) * fraction))
