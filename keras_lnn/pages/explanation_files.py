"""Writing explanations to a folder: the page, its pictures, the maps and the table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_lnn.data.arrays import ImageArray
from keras_lnn.errors import InputError
from keras_lnn.explaining.checked_maps import MapCheck
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
from keras_lnn.plots.style import save_figure
from keras_lnn.saved.predictor import KerasPredictor

PICTURED, WITH_NEURONS = 24, 6
_PICTURES = "pictures"


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
        images: The first samples as the model reads them, at least ``WITH_NEURONS`` of them or all.
        reference: The samples over which the average step of a liquid layer is taken.
        reference_is: What these are, in words.
        cautions: What may spoil the explanations, one sentence each.
        check: How true the maps are, if that was measured.
        circuit: What decides within the liquid layer, if that was measured.
        progress: Called with the fraction done.
    """
    require_free_folder(output)
    shown = explained[:PICTURED]
    with writing_to(output):
        written = WrittenFiles(output, OTHER_FOLDER)
        with written.write(output / _PICTURES) as folder:
            folder.mkdir()
            neurons, about = _try_neurons(predictor, explained, folder, images, reference, reference_is)
            sections = []
            for number, each in enumerate(shown, start=1):
                title = f"What counts for {each.target}"
                figure = plot_explanation(each.image, each.maps, title, each.times, each.unit)
                path = folder / f"{file_stem(number, each)}.png"
                save_figure(figure, path)
                picture = Picture.of_file(path, f"What counts for {each.target}, by {', '.join(each.maps)}")
                sections.append(SampleSection(each, picture, neurons.get(number, ())))
                if progress is not None:
                    progress(number / len(shown))
            parts = [] if check is None else [check_part(check)]
            parts += [] if circuit is None else [circuit_part(circuit, folder)]
        with written.write(output / "maps.npz") as temporary:
            _write_maps(explained, temporary)
        table = pd.DataFrame([row for each in explained for row in each.to_rows()])
        written.write_text(output / "explanation.csv", to_csv(table))
        page = explanation_page(
            predictor.signature, explained, sections, about_neurons=about, cautions=cautions, parts=parts
        )
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


def _write_maps(explained: Sequence[Explained], path: Path) -> None:
    maps = np.stack([np.stack(list(each.maps.values())) for each in explained])
    names = np.array([as_text(each.name) for each in explained])
    with open(path, "wb") as stream:  # a path would get the ending .npz
        np.savez_compressed(stream, maps=maps, names=names, methods=np.array(list(explained[0].maps)))
