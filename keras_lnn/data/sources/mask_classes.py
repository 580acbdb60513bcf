"""The classes of masks, read from a table or found in the files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from keras_lnn.data.checking import name_some
from keras_lnn.data.decode.faults import Decoded, is_obstacle, name_fault
from keras_lnn.data.decode.images import Progress, quiet_decoders, worker_count
from keras_lnn.data.decode.mask_pixels import MaskValue, as_colour, find_values
from keras_lnn.data.sources.table_columns import list_columns, plain_name
from keras_lnn.data.sources.table_file import TextTable, read_table
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import DAMAGED_FILE_ERRORS, cache_folder, write_json

BACKGROUND = "background"

# Version of the way values are read; results in the cache are only reused for the same version.
_READING = 2
# Grey values up to here are class indices; higher ones, such as 255, were chosen for display.
_HIGHEST_INDEX = 31
_MOST_CLASSES = 64
# More grey values than people paint come from the smoothed borders of masks.
_MOST_PAINTED = 16
_MOST_NAMED_CLASSES = 256
_MOST_DIGITS = 20
_NAME_COLUMNS = frozenset(["name", "class", "classname", "label"])
_COLOUR_COLUMNS = frozenset(["colour", "color", "rgb", "hex"])
_INDEX_COLUMNS = frozenset(["index", "value", "id", "pixelvalue"])


@dataclasses.dataclass(frozen=True)
class MaskClasses:
    """The classes of masks, in the order of their indices.

    Args:
        names: One name per class.
        values: The value of a pixel of each class in the files; empty if each class has files of its own.
        notes: How the classes were found, one sentence each.
        written: The value of a pixel of each class in the masks that a model writes; None for its index.
    """

    names: tuple[str, ...]
    values: tuple[MaskValue, ...]
    notes: tuple[str, ...] = ()
    written: tuple[MaskValue, ...] | None = None

    @property
    def coloured(self) -> bool:
        """Returns whether pixels of the files have colours."""
        return any(isinstance(value, str) for value in self.values)


@dataclasses.dataclass(frozen=True)
class MaskFacts:
    """The content of mask files, one entry per file.

    Args:
        values: The values of the pixels.
        shapes: Height and width, for volumes depth, height and width.
        faults: The reason for each file that could not be read, in a few words.
    """

    values: list[list[MaskValue]]
    shapes: list[tuple[int, ...]]
    faults: dict[int, str]


def scan_masks(
    files: Sequence[Path],
    digests: Sequence[str],
    coloured: bool | None,
    progress: Progress | None = None,
    threshold: float | None = None,
) -> MaskFacts:
    """Reads the values and shapes of mask files in their own size; results are cached by content.

    Args:
        files: The mask files.
        digests: A hash of the content of each file.
        coloured: Whether values are colours; None to detect it: if one file is in colour, all are.
        progress: Called with the fraction of the files that is read.
        threshold: Brightness above which a pixel has the value 1, else 0; None for the stored values.
    """
    kinds = [digest + file.suffix.lower() for file, digest in zip(files, digests, strict=True)]
    how = (coloured,) if threshold is None else (coloured, threshold)
    key = hashlib.sha256(repr((_READING, kinds, *how)).encode()).hexdigest()[:32]
    facts_file = cache_folder() / "own-masks" / f"{key}.json"
    facts = _read_facts(facts_file, len(files))
    if facts is None:
        facts, found = _read_all(files, coloured, threshold, progress)
        found.require_no_obstacles(files)
        if found.is_final:
            write_json(facts_file, dataclasses.asdict(facts))
    if coloured is None and any(isinstance(value, str) for values in facts.values for value in values):
        return scan_masks(files, digests, True, progress)
    return facts


def read_classes(path: Path) -> MaskClasses:
    """Reads a table of the classes: their names, and their colours or the values of their pixels.

    The first row is the background. The other rows keep their order if they have colours, and are sorted by value if
    they have values.
    """
    table = read_table(path)
    columns = {plain_name(name): name for name in table.columns}
    name_column, colour_column, index_column = (
        next((columns[name] for name in columns if name in known), None)
        for known in (_NAME_COLUMNS, _COLOUR_COLUMNS, _INDEX_COLUMNS)
    )
    values_column = index_column if colour_column is None else colour_column
    if name_column is None or values_column is None or None not in (colour_column, index_column):
        raise InputError(
            "A table of classes must have the columns name and colour, or name and index. Received: columns"
            f" {list_columns(table.columns)} in {path}. Rename them."
        )
    read = _read_index if colour_column is None else _read_colour
    cells = table.column(values_column)
    rows = list(zip(table.column(name_column), (read(table, row, cell) for row, cell in enumerate(cells)), strict=True))
    if colour_column is None:
        rows[1:] = sorted(rows[1:], key=lambda row: row[1])
    names, values = zip(*rows, strict=True)
    doubled = sorted({str(entry) for part in (names, values) for entry in part if part.count(entry) > 1})
    if doubled or not 2 <= len(names) <= _MOST_NAMED_CLASSES:
        received = f"{name_some(doubled)} more than once" if doubled else f"{len(names)} of them"
        raise InputError(
            f"There must be 2 to {_MOST_NAMED_CLASSES} classes, each with its own name and pixels. Received: {received}"
            f" in {path}."
            " Correct the table."
        )
    if BACKGROUND in map(plain_name, names[1:]) or (plain_name(names[0]) != BACKGROUND and 0 in values[1:]):
        raise InputError(
            f"The first row of a table of classes must be the background. Received: {names[0]}, {values[0]}, in {path}."
            " Move the background up."
        )
    return MaskClasses(names, values, written=_written(values))


def split_by_brightness(threshold: float, path: Path) -> MaskClasses:
    """Returns the two classes of masks that are split by a threshold of brightness.

    Args:
        threshold: The brightness, for the report.
        path: An optional table of classes, which names them.
    """
    names = read_classes(path).names if path.is_file() else (BACKGROUND, "foreground")
    if len(names) != 2:
        raise InputError(
            f"--mask-threshold makes two classes. Received: {path} with {len(names)}. Leave out the option, or the"
            " other classes."
        )
    notes = (f"pixels of masks that are brighter than {threshold:g} belong to {names[1]}",)
    # Values from 0 to 1, such as probabilities in NIfTI files, are not meant for display.
    return MaskClasses(names, (0, 1), notes, written=(0, 255) if threshold >= 1 else None)


def choose_classes(found: Set[MaskValue], lossy: bool = False) -> MaskClasses:
    """Returns the classes of masks with these values, in ascending order; the lowest is the background.

    Args:
        found: The values.
        lossy: Whether some files have a lossy format; then more than two values are not classes.
    """
    if len(found) < 2:
        raise InputError(
            f"Masks must hold at least 2 and at most {_MOST_CLASSES} classes. Received: only one value. Save them as"
            " PNG files of the class indices, or name the classes in classes.csv."
        )
    indices = [value for value in found if not isinstance(value, str)]
    coloured = len(indices) < len(found)
    most = 2 if lossy else _MOST_CLASSES if coloured or max(indices) <= _HIGHEST_INDEX else _MOST_PAINTED
    if len(found) > most:
        brightness = [int(as_colour(value)[1:3], 16) if isinstance(value, str) else value for value in found]
        raise InputError(
            f"Masks must hold at least 2 and at most {most} classes. Received: {len(found):,} values, as smoothed or"
            f" lossy files have. Give --mask-threshold {(min(brightness) + max(brightness)) // 2} where there are two"
            " classes, save them as PNG files of the class indices, or name the classes in classes.csv."
        )
    if coloured:
        values = sorted(as_colour(value) for value in found)
        names = [BACKGROUND if value == "#000000" else value for value in values]
        notes = [f"classes are the colours of the masks: {', '.join(values)}"]
        if values[0] != "#000000":
            notes.append(f"no mask has black pixels: {values[0]} is class 0, the background")
        return MaskClasses(tuple(names), tuple(values), tuple(notes), written=tuple(values))
    highest = max(indices)
    values = list(range(highest + 1)) if highest <= _HIGHEST_INDEX else sorted(indices)
    names = tuple(BACKGROUND if value == 0 else f"class {index}" for index, value in enumerate(values))
    listed = f"classes are the values of the masks: {', '.join(map(str, values))}"
    return MaskClasses(names, tuple(values), (listed,), written=_written(values))


def _written(values: Sequence[MaskValue]) -> tuple[MaskValue, ...] | None:
    return None if list(values) == list(range(len(values))) else tuple(values)


def _read_all(
    files: Sequence[Path], coloured: bool | None, threshold: float | None, progress: Progress | None
) -> tuple[MaskFacts, Decoded]:
    found = Decoded()
    facts = MaskFacts([[] for _ in files], [() for _ in files], found.faults)

    def read(row: int) -> None:
        try:
            facts.shapes[row], facts.values[row] = find_values(files[row], coloured, threshold)
        except Exception as error:  # what decoders raise on damaged files has no common class
            found.faults[row] = name_fault(error)
            found.obstacles.extend([row] if is_obstacle(error) else [])

    with quiet_decoders(), ThreadPoolExecutor(worker_count()) as pool:
        for done, _ in enumerate(pool.map(read, range(len(files))), start=1):
            if progress is not None:
                progress(done / len(files))
    return facts, found


def _read_facts(file: Path, count: int) -> MaskFacts | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        facts = MaskFacts(
            content["values"],
            [tuple(shape) for shape in content["shapes"]],
            {int(row): reason for row, reason in content["faults"].items()},
        )
        return facts if len(facts.values) == len(facts.shapes) == count else None
    except DAMAGED_FILE_ERRORS:
        return None


def _read_index(table: TextTable, row: int, cell: str) -> int:
    if not cell.isdecimal() or len(cell) > _MOST_DIGITS or int(cell) > 65535:
        raise InputError(
            f"An index must be the value of a pixel, from 0 to 65535. Received: {cell or 'an empty cell'}"
            f" ({table.place(row)} of {table.path}). Correct the cell."
        )
    return int(cell)


def _read_colour(table: TextTable, row: int, cell: str) -> str:
    """Reads a colour: ``#rrggbb``, three numbers or a name that HTML defines."""
    from PIL import ImageColor

    parts = [part for part in re.split(r"[\s,;]+", cell) if part.isdecimal() and len(part) <= _MOST_DIGITS]
    numbers = [int(part) for part in parts]
    try:
        red, green, blue = numbers if len(numbers) == 3 else ImageColor.getrgb(cell)[:3]
        if max(red, green, blue) > 255:
            raise ValueError
    except ValueError:
        raise InputError(
            f"A colour must be #rrggbb, three numbers from 0 to 255, or a name. Received: {cell or 'an empty cell'}"
            f" ({table.place(row)} of {table.path}). Correct the cell."
        ) from None
    return f"#{red:02x}{green:02x}{blue:02x}"
