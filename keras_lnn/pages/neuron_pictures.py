"""Pictures of what the neurons, the synapses and the steps of a liquid layer did for single samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_lnn.data.arrays import ImageArray, take_images
from keras_lnn.explaining.neurons import trace_layer
from keras_lnn.explaining.output_names import name_outputs
from keras_lnn.explaining.steps import measure_steps
from keras_lnn.layers.traces import Trace
from keras_lnn.pages.rendering import Picture
from keras_lnn.plots.neurons import plot_neurons, plot_steps
from keras_lnn.plots.style import save_figure
from keras_lnn.plots.wiring import plot_wiring
from keras_lnn.saved.predictor import KerasPredictor

_FEWEST = 8
_TEXTS = {
    "neurons": "The state of each neuron after each step, red above 0 and blue below, and on the right its time"
    " constant: the larger, the longer a neuron remembers. Stripes that last are memory; a neuron that never changes"
    " does nothing for this sample. A neuron has no meaning of its own that this picture could show.",
    "wiring": "The synapses, wider and darker where more flowed for this sample, on average over the steps. A thin"
    " synapse can still matter: only silencing it (--circuit) shows what it does.",
    "steps": "By how much the logit changes if a step holds what it holds on average: blue steps speak for the output,"
    " orange ones against it. The steps need not sum to the logit.",
}


def draw_neurons(
    predictor: KerasPredictor, images: ImageArray, stems: Sequence[str], folder: Path, reference: ImageArray
) -> list[list[Picture]]:
    """Draws the first liquid layer for some samples, and returns the pictures of each.

    Args:
        predictor: A model with a liquid layer.
        images: The samples; the first ones are drawn.
        stems: For each of them that is drawn, the beginning of the names of its files.
        folder: Where the pictures are written.
        reference: The samples over which the average step is taken; with fewer than eight, steps are not drawn.
    """
    model, classes = predictor.model, predictor.signature.class_names
    first = take_images(images, slice(len(stems)))
    traced = trace_layer(model, first)
    steps = measure_steps(model, first, reference).contributions if len(reference) >= _FEWEST else None
    # The outputs of a layer within another one are not those of the model.
    known = any(layer is traced.layer for layer in traced.model.layers)
    count = traced.trace.outputs.shape[-1]
    outputs = name_outputs(traced.model, traced.layer, count, classes) if known else ()
    found = []
    for sample, stem in enumerate(stems):
        figures: dict[str, Any] = {}
        title = f"What layer {traced.layer.name} did"
        figures["neurons"] = plot_neurons(traced.trace, title, outputs, sample)
        if traced.layer.built_wiring is not None:
            flows = traced.trace.mean_flows(sample)
            figures["wiring"] = plot_wiring(traced.layer.built_wiring, "What flowed", outputs, flows=flows)
        if steps is not None:
            read = _read_steps(steps[sample], traced.trace, sample)
            figures["steps"] = plot_steps(read, _name_logits(classes, steps), "What each step contributes")
        pictures = []
        for name, figure in figures.items():
            path = folder / f"{stem}-{name}.png"
            save_figure(figure, path)
            pictures.append(Picture.of_file(path, _TEXTS[name]))
        found.append(pictures)
    return found


def _read_steps(steps: np.ndarray, trace: Trace, sample: int) -> np.ndarray:
    """Returns the steps up to the last one that is not masked."""
    read = np.flatnonzero(~np.isnan(trace.time_constants[sample]).any(axis=-1))
    return steps[: read[-1] + 1] if len(read) else steps


def _name_logits(classes: Sequence[str], steps: Any) -> Sequence[str]:
    return list(classes)[: steps.shape[-1]]
