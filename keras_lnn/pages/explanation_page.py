"""The page of explanations: the maps and neurons of each sample, then how to read them and how true they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from keras_lnn.explaining.explanations import Explained
from keras_lnn.explaining.maps import METHODS, describe_method
from keras_lnn.files.atomic import as_text
from keras_lnn.pages.rendering import Link, Picture, Table, render
from keras_lnn.saved.card import describe_thresholds
from keras_lnn.saved.signature import Signature
from keras_lnn.statistics.texts import number

FILES = {
    "explanation.html": "this page",
    "explanation.csv": "one row per sample and method: prediction, strongest point, and how much of the map is in its"
    " strongest 10% of pixels; for a run also the likeness, which is the share of the validation samples that are at"
    " least as far from the training samples",
    "maps.npz": "all maps: the arrays maps (samples, methods, ...), names and methods; read them by numpy.load",
    "pictures": "the pictures of this page as files",
}
LIMITS = (
    "A map shows which pixels count for what this model predicts. It shows neither why they count nor whether the"
    " prediction is right, and a model may be right for a wrong reason.",
    "Maps can be wrong. Methods disagree with each other, and a map looks as convincing when it is false. Compare"
    " several methods (--method), and measure how true they are (--check).",
    "A pixel without colour is not a healthy one: it did not count for this prediction.",
    "Each map is scaled by its own strongest points, so that the colours of two samples cannot be compared.",
)
LEGENDS = {
    "images": "The cross marks the strongest point. Yellow counts most, and where the image is grey, nothing counts.",
    "volumes": "Three slices meet in the strongest point, which the cross marks. Yellow counts most. The bars show"
    " which slices hold how much of the map.",
    "series": "Each frame has its own map below it, on one scale for the whole series, so that the frames can be"
    " compared. The cross marks the strongest point. Yellow counts most.",
}
_MOST_ROWS_OPEN = 12


@dataclasses.dataclass(frozen=True)
class SampleSection:
    """What the page shows of one sample.

    Args:
        explained: The sample.
        maps: The picture of its maps.
        neurons: Pictures of what the neurons, synapses and steps of the liquid layer did.
        distance: How far it is from what the model has learned, in words; empty if that was not measured.
        neighbours: Pictures of the training samples that are most like it.
        cautions: Sentences on why this sample may be unlike what the model has learned.
    """

    explained: Explained
    maps: Picture
    neurons: Sequence[Picture] = ()
    distance: str = ""
    neighbours: Sequence[Picture] = ()
    cautions: Sequence[str] = ()

    @property
    def facts(self) -> dict[str, str]:
        """Returns what is predicted and what is true, by name."""
        found = self.explained
        facts = {"Predicted": f"{found.predicted}, probability {number(found.probability)}"}
        if (found.target, found.target_probability) != (found.predicted, found.probability):
            facts["Explained"] = f"{found.target}, probability {number(found.target_probability)}"
        facts |= {} if found.truth is None else {"Truth": found.truth}
        return facts | ({"Distance from what was learned": self.distance} if self.distance else {})


@dataclasses.dataclass(frozen=True)
class PagePart:
    """A part of the page about the whole model.

    Args:
        anchor: Its address within the page.
        title: Its heading.
        sentences: What it shows and how to read it.
        tables: Its tables.
        pictures: Its pictures.
    """

    anchor: str
    title: str
    sentences: Sequence[str]
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


def explanation_page(
    signature: Signature,
    explained: Sequence[Explained],
    sections: Sequence[SampleSection],
    *,
    about_neurons: str,
    about_likeness: str = "",
    cautions: Sequence[str] = (),
    parts: Sequence[PagePart] = (),
) -> str:
    """Returns the page.

    Args:
        signature: Of the model.
        explained: All samples.
        sections: What is shown of the first ones.
        about_neurons: A sentence on the pictures of the neurons, or on why there are none.
        about_likeness: Sentences on how the samples were compared with those learned from, or on why they were not.
        cautions: What may spoil the explanations, one sentence each.
        parts: What was measured of the whole model.
    """
    methods = list(explained[0].maps)
    kinds = dict.fromkeys(each.kind for each in explained)
    return render(
        "explanation.html",
        title=f"What {signature.model} looks at",
        about=_describe(signature, explained),
        cautions=cautions,
        legend=[LEGENDS[kind] for kind in kinds],
        reading=_describe_decisions(signature),
        signed=any((each.maps[method] < 0).any() for each in explained for method in methods),
        methods={name: f"{describe_method(name)} It reads the {METHODS[name].looks_at}." for name in methods},
        limits=LIMITS,
        parts=parts,
        about_samples=[text for text in (about_neurons, about_likeness) if text],
        sections=[(f"sample-{number}", section) for number, section in enumerate(sections, start=1)],
        left=len(explained) - len(sections),
        table=samples_table(explained),
        files=[(Link(name, f"{name}/" if name == "pictures" else name), what) for name, what in FILES.items()],
    )


def samples_table(explained: Sequence[Explained]) -> Table:
    """Returns what explanation.csv holds, one row per sample and method.

    Args:
        explained: The samples.
    """
    rows = [row for each in explained for row in each.to_rows()]
    folded = f"{len(rows)} rows" if len(rows) > _MOST_ROWS_OPEN else ""
    words = [name for name in rows[0] if isinstance(rows[0][name], str)]
    head = [*words, *(name for name in rows[0] if name not in words)]
    return Table(
        "Each map: its strongest point, counted from 0 as in maps.npz, and the share of it in its strongest 10% of"
        " pixels, which is 1 for a map in one place and .1 for an even one",
        head,
        [[_cell(row[name]) for name in head] for row in rows],
        folded=folded,
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return "–" if value is None else as_text(str(value))


def _describe_decisions(signature: Signature) -> list[str]:
    """Returns a sentence on the thresholds of predictions where the model has some."""
    thresholds = describe_thresholds(signature)
    return [] if thresholds is None else [f"Predicted: {thresholds}."]


def _describe(signature: Signature, explained: Sequence[Explained]) -> str:
    count = len(explained)
    noun = signature.samples.removesuffix("s") if count == 1 and signature.samples != "series" else signature.samples
    why = [each.why for each in explained if each.why]
    chosen = "; they were chosen by how probable the model found the truth, from the worst to the best" if why else ""
    return f"{count} {noun} and what counted for the predictions of {signature.model}{chosen}."
