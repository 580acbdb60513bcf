"""The parts of the page of explanations about the whole model: how true its maps are, and its smallest circuit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.explaining.checked_maps import MapCheck
from keras_lnn.explaining.measured_circuit import LARGEST_LOSS, LEAST_AGREEMENT, MeasuredCircuit
from keras_lnn.explaining.pruning import Beside
from keras_lnn.pages.explanation_page import PagePart
from keras_lnn.pages.rendering import Picture, Table
from keras_lnn.plots.neurons import plot_silencing
from keras_lnn.plots.style import save_figure
from keras_lnn.plots.wiring import plot_pruned_wiring
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.texts import interval, number, p_value, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_part(check: MapCheck) -> PagePart:
    """Returns how true maps are as a part of the page.

    Args:
        check: What was measured.
    """
    sentences = [
        f"Measured on {check.samples_are}, with 95% intervals.",
        "Deletion: the strongest pixels are replaced first by the mean of the image, and the probability should fall"
        " faster than if random regions go. Insertion: they come first into a blurred image, and it should rise"
        " faster. Both are areas between the two curves: at 0 the map says nothing about this model.",
        "Random weights: by how much the rank correlation with the map falls when the network has forgotten all it"
        " learned. Near 0 the map would be the same without any training, so that it explains nothing.",
    ]
    if check.with_lesion:
        sentences.append(
            f"{check.with_lesion} of the samples have a lesion whose place is known. In the lesion: the share of the"
            " map within it, enlarged by two pixels. Hits: how often the strongest point is within it. An even map has"
            f" {number(check.by_chance)} of itself there."
        )
    if any(math.isnan(found.fall) for found in check.methods):
        sentences.append("Random weights were not measured, because a layer of the model cannot be drawn anew.")
    return PagePart("check", "How true the maps are", sentences, [check_table(check)])


def check_table(check: MapCheck) -> Table:
    """Returns what was measured of each method.

    Args:
        check: What was measured.
    """
    head = ["method", "deletion", "insertion", "random weights"]
    rows = [
        [found.method, _signed(found.deletion), _signed(found.insertion), number(found.fall)] for found in check.methods
    ]
    if check.with_lesion:
        head += ["in the lesion", "hits"]
        for row, found in zip(rows, check.methods, strict=True):
            row += ["–" if value is None else _cell(value) for value in (found.mass, found.pointing)]
    return Table(f"How true maps are, on {check.samples_are}", head, rows)


def circuit_part(found: MeasuredCircuit, folder: Path) -> PagePart:
    """Returns what neurons and synapses do, and the smallest circuit, as a part of the page; draws its pictures.

    Args:
        found: What was measured.
        folder: Where the pictures are written.
    """
    circuit, metric = found.circuit, metric_label(found.silencing.metric)
    pictures = [_draw(plot_silencing, _silencing_arguments(found, metric), folder / "silencing.png", _SILENCING)]
    total = len(circuit.kept) + len(circuit.removed)
    sentences = [
        f"Silencing a neuron or a synapse of layer {circuit.layer} and measuring what changes says what it is good"
        f" for, on {found.validation_are}: {metric} of the whole model is {interval(found.silencing.whole)}.",
        f"The smallest circuit that still makes at least {LEAST_AGREEMENT:.0%} of the decisions of the whole model"
        f" there, and loses at most {number(LARGEST_LOSS, 2)} of its {metric}, has {len(circuit.kept)} of {total}"
        f" synapses and {len(circuit.neurons)} of {found.neurons} neurons. No single one of these synapses can go, but"
        " another choice could be smaller.",
        f"On {found.test_are}, which chose nothing, {_percent(found.test.agreement)} of the decisions are those of the"
        " whole model.",
    ]
    if found.whole_wiring is not None and circuit.wiring is not None:
        shown = found.count_drawn()
        if shown != total:
            sentences.append(
                f"The picture has {shown} synapses, those of the wiring; the search counts {total}, because each gate"
                " of a CfC also reads neurons that the wiring does not list."
            )
        arguments = (found.whole_wiring, circuit.wiring, "The whole wiring and its smallest circuit", found.outputs)
        pictures.append(_draw(plot_pruned_wiring, arguments, folder / "circuit.png", _CIRCUIT))
    return PagePart("circuit", "What decides within the liquid layer", sentences, [circuit_table(found)], pictures)


def circuit_table(found: MeasuredCircuit) -> Table:
    """Returns the smallest circuit beside the whole model, on validation and on test.

    Args:
        found: What was measured.
    """
    rows = [
        row
        for split, beside in (("validation", found.circuit.validation), ("test", found.test))
        for row in _rows(split, beside)
    ]
    head = ["split", "same decisions", "metric", "whole", "circuit", "difference"]
    return Table("The circuit beside the whole model, with 95% intervals", head, rows)


_SILENCING = (
    "On the left the mean change of the probabilities if a part is silenced, on the right the change of the metric,"
    " with 95% intervals for each part alone. A part whose silencing changes nothing may be doubled by another one."
)
_CIRCUIT = "On the left the whole wiring, on the right what is left of it; hollow neurons have lost all their synapses."


def _silencing_arguments(found: MeasuredCircuit, metric: str) -> tuple[Any, ...]:
    effects = found.silencing.effects
    return (
        [str(effect.part) for effect in effects],
        [effect.change for effect in effects],
        [effect.metric for effect in effects],
        metric,
        f"Silencing parts of layer {found.silencing.layer}",
    )


def _draw(draw: Callable[..., Figure], arguments: tuple[Any, ...], path: Path, text: str) -> Picture:
    save_figure(draw(*arguments), path)
    return Picture.of_file(path, text)


def _rows(split: str, beside: Beside) -> list[list[str]]:
    rows = []
    for name, found in beside.differences.items():
        difference = f"{signed(found.value)}\n{number(found.low)} to {number(found.high)}, {p_value(found.p)}"
        cells = [_cell(beside.whole[name]), _cell(beside.pruned[name]), difference]
        rows.append([split, _cell(beside.agreement), metric_label(name), *cells])
    return rows


def _cell(found: Estimate) -> str:
    return number(found.value) + (f"\n{number(found.low)} to {number(found.high)}" if found.low == found.low else "")


def _signed(found: Estimate) -> str:
    return f"{signed(found.value)}\n{signed(found.low)} to {signed(found.high)}"


def _percent(found: Estimate) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
