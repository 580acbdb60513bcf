"""Makes a picture of the documents: ``python docs/make_picture.py runs/my-run docs/images/run.png``.

From the folder of a run, six of its pictures are joined; it must be one of two classes that was tested, such as that of
``python train.py --model lnn --run-dir runs/my-run``. A PNG file, such as one of a run or a study, is taken as it is.
Either way the file becomes small by fewer colours.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

# What the picture shows, and where it lies in the run's folder.
PANELS = {
    "training, epoch by epoch": "history.png",
    "ROC curve of the test": "roc.png",
    "confusion matrix": "confusion.png",
    "calibration": "reliability.png",
    "wrong and right examples": "examples.png",
    "the wiring": "wiring_cfc.png",
}
WIDTH_PIXELS = 1200


def draw(run: Path, output: Path) -> None:
    """Joins six pictures of a run into one.

    Args:
        run: Folder of the run.
        output: PNG file to write.
    """
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), dpi=WIDTH_PIXELS / 12, facecolor="white")
    for axis, (title, file) in zip(axes.flat, PANELS.items(), strict=True):
        axis.imshow(Image.open(run / "plots" / file).convert("RGB"), interpolation="lanczos")
        axis.set_title(title, fontsize=10)
        axis.axis("off")
        axis.set_anchor("N")
    figure.tight_layout(pad=0.6)
    drawn = output.with_suffix(".full.png")
    figure.savefig(drawn)
    plt.close(figure)
    shrink(drawn, output)
    drawn.unlink()


def shrink(picture: Path, output: Path) -> None:
    """Writes a picture with few colours, which keep the file small."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of two classes, or a PNG file")
    parser.add_argument("output", type=Path, help="PNG file to write")
    arguments = parser.parse_args()
    make = draw if arguments.run.is_dir() else shrink
    make(arguments.run, arguments.output)
