"""Series of images in time for the tests."""

import numpy as np
from PIL import Image
from table_samples import write_table

from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.series import load_series

HEADER = ("series", "file", "time_minutes", "label", "patient")


def list_rows(series=24):
    """Series s0, s1, ... of three to five images every 1.5 minutes, two series per patient."""
    return [
        [f"s{number}", f"{number}_{k}.png", f"{1.5 * k}", "ab"[number // 2 % 2], f"p{number // 2}"]
        for number in range(series)
        for k in range(3 + number % 3)
    ]


def write_series(root, rows=None, header=HEADER, change=None):
    """Writes a table of series with its images; ``change`` receives the rows first, and may edit them.

    The image ``2_1.png`` has the grey value 11 at its left, and noise.
    """
    rows = list_rows() if rows is None else rows
    generator = np.random.default_rng(0)
    for file in dict.fromkeys(row[1] for row in rows):
        number, _, k = file.partition(".")[0].partition("_")
        image = generator.integers(0, 256, (8, 8), dtype=np.uint8)
        image[:, :4] = int(number) * 5 + int(k)
        Image.fromarray(image).save(root / file)
    if change is not None:
        change(rows)
    return write_table(root / "series.csv", header, rows)


def load(path, *, side=8, plan="seeded", **options):
    return load_series(path, Reading(own=OwnImages(**options), size=side, plan=plan))


def times_of(data):
    """Times of all series by their names, without padding."""
    return {
        name: [time for time in times.tolist() if time == time]
        for split in data.splits.values()
        for name, times in zip(split.names, split.images.times(), strict=True)
    }
