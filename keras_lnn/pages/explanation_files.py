"""Writing explanations to a folder: the page, its pictures, the maps and the table."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import ImageArray, take_images
from keras_lnn.errors import InputError
from keras_lnn.explaining.checked_maps import MapCheck
from keras_lnn.explaining.compared import LearnedComparison
from keras_lnn.explaining.explanations import Explained
from keras_lnn.explaining.liquid_layers import explain_absence
from keras_lnn.explaining.measured_circuit import MeasuredCircuit
from keras_lnn.files.atomic import as_text, writing_to
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.pages.explanation_page import FILES, SampleSection, explanation_page
from keras_lnn.pages.explanation_parts import check_part, circuit_part
from keras_lnn.pages.neuron_pictures import draw_neurons
from keras_lnn.pages.rendering import Picture
from keras_lnn.plots.explanations import plot_explanation
from keras_lnn.plots.neighbours import plot_neighbours
from keras_lnn.plots.style import save_figure
from keras_lnn.saved.predictor import KerasPredictor

PICTURED, WITH_NEURONS = 24, 6
_PICTURES = "pictures"
_NEAREST = (
    "The nearest ones by the features that the model decides by, with their labels and their cosine distances, from 0"
    " for the same features to 2; of each patient at most one, where patients are known. They show what the model takes"
    " for alike, not that the prediction is right."
)


def require_free_folder(output: Path) -> None:
    """Checks that explanations can be written to a folder without the loss of another file.

    Args:
        output: The folder.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"--output must be a folder. Received: {output}, which is a file. Choose another one.")
    WrittenFiles(output, OTHER_FOLDER).require_free([output / name for name in FILES])


def write_explanations(
    predictor: KerasPredictor,
    explained: Sequence[Explained],
    output: Path,
    *,
    images: ImageArray,
    reference: ImageArray,
    reference_is: str,
    compared: LearnedComparison | str = "",
    cautions: Sequence[str] = (),
    check: MapCheck | None = None,
    circuit: MeasuredCircuit | None = None,
    progress: Callable[[float], None] | None = None,
) -> Path:
    """Writes explanations, and returns the path of their page.

    Args:
        predictor: The model.
        explained: The samples.
        output: Folder for the files; those of earlier explanations are replaced.
        images: The samples as the model reads them.
        reference: The samples over which the average step of a liquid layer is taken.
        reference_is: What these are, in words.
        compared: How all samples compare with those that the model has learned from, or a sentence on why that cannot
            be known.
        cautions: What may spoil the explanations, one sentence each.
        check: How true the maps are, if that was measured.
        circuit: What decides within the liquid layer, if that was measured.
        progress: Called with the fraction done.
    """
    require_free_folder(output)
    if not isinstance(compared, str):
        pairs = zip(explained, compared.likeness.p_values.tolist(), strict=True)
        explained = [dataclasses.replace(each, likeness=value) for each, value in pairs]
    with writing_to(output):
        written = WrittenFiles(output, OTHER_FOLDER)
        with written.write(output / _PICTURES) as folder:
            folder.mkdir()
            neurons, about = _try_neurons(predictor, explained, folder, images, reference, reference_is)
            sections, shown = [], explained[:PICTURED]
            for number, each in enumerate(shown, start=1):
                learned = _describe_learned(compared, images, number, each, folder)
                maps = _draw_maps(number, each, folder)
                sections.append(SampleSection(each, maps, neurons.get(number, ()), **learned))
                if progress is not None:
                    progress(number / len(shown))
            parts = [] if check is None else [check_part(check)]
            parts += [] if circuit is None else [circuit_part(circuit, folder)]
        with written.write(output / "maps.npz") as temporary:
            _write_maps(explained, temporary)
        table = pd.DataFrame([row for each in explained for row in each.to_rows()])
        written.write_text(output / "explanation.csv", to_csv(table))
        texts = {"about_neurons": about, "about_likeness": _describe_comparison(compared), "cautions": cautions}
        page = explanation_page(predictor.signature, explained, sections, parts=parts, **texts)
        written.write_text(output / "explanation.html", page)
    return output / "explanation.html"


def file_stem(number: int, each: Explained) -> str:
    """Returns the name of a sample's pictures without ending: its number and what is harmless in its own name.

    Args:
        number: From 1 on.
        each: The sample.
    """
    harmless = re.sub(r"[^A-Za-z0-9._=-]+", "-", Path(each.name).stem)[:60].strip("-.")
    return f"{number:04d}-{harmless}".rstrip("-")


def _try_neurons(
    predictor: KerasPredictor,
    explained: Sequence[Explained],
    folder: Path,
    images: ImageArray,
    reference: ImageArray,
    reference_is: str,
) -> tuple[dict[int, list[Picture]], str]:
    """Returns the pictures of neurons by the number of their sample, and a sentence on them or their absence."""
    absence = explain_absence(predictor.model)
    if absence:
        return {}, f"There are no pictures of liquid neurons: {absence}"
    stems = [file_stem(number, each) for number, each in enumerate(explained[:WITH_NEURONS], start=1)]
    try:
        found = draw_neurons(predictor, images, stems, folder, reference)
    except InputError as error:
        return {}, f"There are no pictures of liquid neurons: {error}"
    some = f" the first {len(stems)} of" if len(explained) > len(stems) else ""
    return dict(enumerate(found, start=1)), (
        f"Below the maps of{some} the samples is what the neurons of the liquid layer did. The average step is that of"
        f" {reference_is}."
    )


def _draw_maps(number: int, each: Explained, folder: Path) -> Picture:
    """Returns the picture of a sample's maps, which is also written to the folder."""
    title = f"What counts for {each.target}"
    path = folder / f"{file_stem(number, each)}.png"
    save_figure(plot_explanation(each.image, each.maps, title, each.times, each.unit), path)
    return Picture.of_file(path, f"{title}, by {', '.join(each.maps)}")


def _describe_comparison(compared: LearnedComparison | str) -> str:
    return compared if isinstance(compared, str) else compared.describe()


def _describe_learned(
    compared: LearnedComparison | str, images: ImageArray, number: int, each: Explained, folder: Path
) -> dict[str, Any]:
    """Returns what the section of a sample shows of how it compares with those that were learned."""
    if isinstance(compared, str):
        return {}
    row = number - 1
    about = {"distance": compared.describe_distance(row), "cautions": compared.warn_of(row)}
    found, known = compared.neighbours, compared.training_images
    if known is None:
        return about
    figure = plot_neighbours(
        take_images(images, slice(row, row + 1)),
        known,
        found.rows[row : row + 1],
        found.distances[row : row + 1],
        [found.labels[row]],
        [f"{each.name}, predicted: {each.predicted}"],
        [found.names[row]],
    )
    path = folder / f"{file_stem(number, each)}-nearest.png"
    save_figure(figure, path)
    return about | {"neighbours": [Picture.of_file(path, _NEAREST)]}


def _write_maps(explained: Sequence[Explained], path: Path) -> None:
    maps = np.stack([np.stack(list(each.maps.values())) for each in explained])
    names = np.array([as_text(each.name) for each in explained])
    with open(path, "wb") as stream:  # a path would get the ending .npz
        np.savez_compressed(stream, maps=maps, names=names, methods=np.array(list(explained[0].maps)))
