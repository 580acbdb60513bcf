"""What people may say of their own images: how a file becomes pixels, and what the columns of a table are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

FITS = ("stretch", "pad")


@dataclasses.dataclass(frozen=True)
class Rendering:
    """How an image file becomes pixels of 8 bits in the size that is asked for; a model remembers it.

    Args:
        fit: ``stretch`` fills the size; ``pad`` keeps the aspect ratio and fills up with black.
        window: Centre and width of the values that are shown, for files of more than 8 bits; None for the window that
            a DICOM file names, else the whole range.
        classes: Of masks, what a pixel of each class has in the file: its value, or its colour as ``#rrggbb``; pixels
            become class indices. Where this is empty, all that is not black is class 1. None for images.
        threshold: Of masks whose files are smoothed or lossy: a pixel brighter than this has the value 1, any other 0.
            None for the values as they are.
        frame: Of a file with several frames, pages or times which one is read: ``first``, ``middle``, a number from 1
            on as text, or ``mean`` for the mean of all; None for the first one, or for a volume where the frames are
            slices. ``each`` reads slices in folders one by one.
    """

    fit: str = "stretch"
    window: tuple[float, float] | None = None
    classes: tuple[int | str, ...] | None = None
    threshold: float | None = None
    frame: str | None = None


@dataclasses.dataclass(frozen=True)
class OwnImages:
    """The options of ``folder:``, ``table:`` and ``masks:``, under the names that they have in a configuration.

    Args:
        image_dir: Where the files of a table are; None for the table's own folder.
        file_column: Name of the column of file names; None to find it.
        label_columns: Names of the columns of labels; None to find them.
        split_column: Name of the column of splits; None to find it where there is one.
        group_column: Name of the column of groups, such as patients; None to find it where there is one.
        fit: As in :class:`Rendering`.
        window: As in :class:`Rendering`.
        skip_bad: Whether missing and unreadable files are left out.
        mask_threshold: As ``threshold`` in :class:`Rendering`.
        frame: As in :class:`Rendering`.
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

    @property
    def rendering(self) -> Rendering:
        """The part that decides how a file becomes pixels."""
        return Rendering(self.fit, self.window, frame=self.frame)
