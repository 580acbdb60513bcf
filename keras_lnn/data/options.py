"""Options for a user's own images: how a file becomes pixels, and the roles of the columns of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

FITS = ("stretch", "pad")
LABELS_OF = ("series", "image")
STEPS_ALONG = ("time", "position")


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How an image file becomes 8-bit pixels of the requested size; stored with a model.

    Args:
        fit: ``stretch`` fills the size; ``pad`` keeps the aspect ratio and pads with black.
        window: Centre and width of the displayed values, for files of more than 8 bits; None for the window of a DICOM
            file, else the whole range.
        classes: For masks, the value of a pixel of each class in the file, or its colour as ``#rrggbb``; pixels become
            class indices. If it is empty, all that is not black is class 1. None for images.
        threshold: For masks whose files are smoothed or lossy: a pixel brighter than this has the value 1, any other 0.
            None for the stored values.
        frame: Which of several frames, pages or times of a file is read: ``first``, ``middle``, a number from 1 on as
            text, or ``mean`` for the mean of all; None for the first one, or for a volume if the frames are slices.
            ``each`` reads the slices in folders one by one.
    """

    fit: str = "stretch"
    window: tuple[float, float] | None = None
    classes: tuple[int | str, ...] | None = None
    threshold: float | None = None
    frame: str | None = None


@dataclasses.dataclass(frozen=True)
class OwnImages:
    """The options of ``folder:``, ``table:``, ``masks:`` and ``series:``, named as in a configuration.

    Args:
        image_dir: Folder of the files of a table; None for the table's own folder.
        file_column: Name of the column of file names; None to detect it.
        label_columns: Names of the columns of labels; None to detect them.
        split_column: Name of the column of splits; None to detect it, if there is one.
        group_column: Name of the column of groups, such as patients; None to detect it, if there is one.
        fit: As in :class:`Rendering`.
        window: As in :class:`Rendering`.
        skip_bad: Whether missing and unreadable files are left out.
        mask_threshold: As ``threshold`` in :class:`Rendering`.
        frame: As in :class:`Rendering`.
        series_column: Name of the column of series; None to detect it.
        time_column: Name of the column of times; None to detect it.
        time_unit: Unit of the times of series, such as ``minutes``; None for that of the column or of the files.
        model_unit: Unit into which the times of series are brought for a model; None for ``time_unit``.
        steps_along: ``time``, or ``position`` if the images of a series are slices that have positions in millimetres
            in place of times.
        position_column: Name of the column of positions; None to detect it.
        max_steps: Number of images to which longer series are thinned, evenly in time or along their positions.
        label_of: What has a label in data of series: each ``series``, or each ``image``.
    """

    image_dir: str | Path | None = None
    file_column: str | None = None
    label_columns: Sequence[str] | None = None
    split_column: str | None = None
    group_column: str | None = None
    fit: str = "stretch"
    window: tuple[float, float] | None = None
    skip_bad: bool = False
    mask_threshold: float | None = None
    frame: str | None = None
    series_column: str | None = None
    time_column: str | None = None
    time_unit: str | None = None
    model_unit: str | None = None
    steps_along: str = "time"
    position_column: str | None = None
    max_steps: int = 32
    label_of: str = "series"

    @property
    def rendering(self) -> Rendering:
        """Returns the options that decide how a file becomes pixels."""
        return Rendering(self.fit, self.window, frame=self.frame)
