"""Folders of images with masks for the tests."""

import numpy as np
from PIL import Image
from table_samples import write_table

from keras_lnn.data.options import OwnImages
from keras_lnn.data.reading import Reading
from keras_lnn.data.sources.masks import load_mask_classes, load_masks

COLOURS = np.array([[0, 0, 0], [0, 200, 0], [255, 0, 0]], np.uint8)


def draw(number, shape=(12, 10)):
    """Returns an image and its mask: grey 20 outside, 120 in the liver, 220 in the tumour of every third one."""
    mask = np.zeros(shape, np.uint8)
    top = number % 3
    if number % 5:
        mask[top + 2 : top + 9, 1:8] = 1
    if number % 3 == 0 and number % 5:
        mask[top + 4 : top + 7, 3:6] = 2
    return np.array([20, 120, 220], np.uint8)[mask] + np.uint8(number % 20), mask


def write_pairs(root, count=30, kind="index", shape=(12, 10), names="{:02}"):
    """``images`` and ``masks`` of one kind: index, colour or palette."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask = draw(number, shape)
        name = names.format(number)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        if kind == "colour":
            Image.fromarray(COLOURS[mask]).save(root / "masks" / f"{name}.png")
        else:
            file = Image.fromarray(mask)
            if kind == "palette":
                file.putpalette(COLOURS.ravel().tolist())
            file.save(root / "masks" / f"{name}.png")
    return root


def write_manifest(root, count=30, kind="mask", patients=10, splits=None):
    """A manifest with patients; of kind ``columns`` it names one mask file a class."""
    rows = []
    for number in range(count):
        _, mask = draw(number)
        if kind == "mask":
            cells = [f"{number:02}.png"]
        else:
            cells = []
            for index, folder in enumerate(("liver", "tumour"), start=1):
                # The liver's own files hold the tumours too, as those of the LiTS set do.
                inside = (mask >= index) * np.uint8(255)
                (root / folder).mkdir(exist_ok=True)
                Image.fromarray(inside).save(root / folder / f"{number:02}.png")
                cells.append(f"{folder}/{number:02}.png" if inside.any() else "")
        split = [] if splits is None else [splits(number)]
        rows.append((f"{number:02}.png", f"P{number % patients}", *split, *cells))
    masks = ("mask",) if kind == "mask" else ("liver", "tumour")
    header = ("image", "patient", *(() if splits is None else ("split",)), *masks)
    return write_table(root / "manifest.csv", header, rows)


def load(root, *, classes=False, side=(12, 10), seed=0, plan="seeded", **options):
    function = load_mask_classes if classes else load_masks
    return function(root, Reading(own=OwnImages(**options), size=side, seed=seed, plan=plan))


def by_name(data):
    """Image, label and group of each sample by the number in its name."""
    found = {}
    for split in data.splits.values():
        images = split.images[np.arange(len(split))]
        for row, name in enumerate(split.names):
            group = None if split.groups is None else split.groups[row]
            found[int(name.partition(".")[0])] = (images[row], split.labels[row], group)
    return found
