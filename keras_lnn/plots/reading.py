"""What each picture of a run shows and how it is read, by the name of its file."""

from __future__ import annotations

import dataclasses
import enum


class Part(enum.Enum):
    """The part of a run that a picture is about."""

    DATA = "data"
    TRAINING = "training"
    TEST = "test"
    CASES = "cases"
    NETWORK = "network"


@dataclasses.dataclass(frozen=True)
class Reading:
    """A description of a picture for its reader.

    Args:
        part: What it is about.
        title: Its heading.
        sentence: What it shows and what to look for; ``{samples}`` stands for what the samples are, in the plural.
    """

    part: Part
    title: str
    sentence: str


# In the order in which a page shows them.
_READINGS = {
    "images": Reading(
        Part.DATA,
        "Training {samples}",
        "A few training {samples} as the network gets them: check that none is cut off, too dark or wrongly labelled.",
    ),
    "history": Reading(
        Part.TRAINING,
        "Loss and metrics",
        "Training and validation after each epoch: validation that gets worse while training gets better means that "
        "the network learns its {samples} by heart; the dotted line is the epoch that was kept.",
    ),
    "dice": Reading(
        Part.TRAINING,
        "Dice of each class",
        "Overlap of predicted and true masks on validation after each epoch, 1 at best: a class that stays near 0 is "
        "not being learned.",
    ),
    "class_accuracy": Reading(
        Part.TRAINING,
        "Each class over the epochs",
        "Share of validation {samples} that were right for each class or label after each epoch: one that stays low is "
        "not being learned.",
    ),
    "class_correlation": Reading(
        Part.TRAINING,
        "Classes that are learned together",
        "Whether two classes get better in the same epochs (blue, near 1) or at each other's expense (red, near -1); a "
        "dash means that nothing changed.",
    ),
    "labels": Reading(
        Part.TEST,
        "Each class or label",
        "A dot is the estimate and its line the 95% interval; the short upright marks show what guessing would reach, "
        "so an interval that contains its mark is no evidence of learning.",
    ),
    "roc": Reading(
        Part.TEST,
        "ROC curve",
        "Sensitivity and false positive rate at every threshold: the nearer to the upper left corner the better; the "
        "diagonal is guessing.",
    ),
    "precision_recall": Reading(
        Part.TEST,
        "Precision and recall",
        "How many of the {samples} above a threshold are right (precision) against how many of the class are found "
        "(recall): the nearer to the upper right corner the better; for rare classes it says more than the ROC curve.",
    ),
    "confusion": Reading(
        Part.TEST,
        "Confusion",
        "What the {samples} of each true class were taken for: what is right is on the diagonal or blue, and every "
        "other cell is a kind of error.",
    ),
    "reliability": Reading(
        Part.TEST,
        "Reliability",
        "Whether predictions are right as often as their probability says: dots on the dotted line are, predictions of "
        "dots below it are too sure. Grey dots, where there are any, are those before calibration.",
    ),
    "referral": Reading(
        Part.TEST,
        "Referring to a human",
        "How often the model is wrong about the {samples} that it decides itself, the surest ones first: at the right "
        "end it decides all of them. The dot is where it refers the others, and should lie below the dotted line.",
    ),
    "spread": Reading(
        Part.TEST,
        "Dice of single images",
        "How Dice spreads over the images, each a dot: a mean can hide images on which the network fails altogether.",
    ),
    "overlays": Reading(
        Part.CASES,
        "Masks on their images",
        "Images from all over the split, their true masks and the predicted ones: look at borders and at small areas.",
    ),
    "gallery": Reading(
        Part.CASES,
        "Best, median and worst images",
        "The truth is outlined in white and the prediction in the colour of its class: what do the worst images share?",
    ),
    "examples": Reading(
        Part.CASES,
        "Sure, unsure and wrong predictions",
        "The surest right, the least sure and the surest wrong predictions (blue right, orange wrong): surely wrong "
        "ones are often wrong labels, or a kind of image that training has too few of.",
    ),
    "explanations": Reading(
        Part.CASES,
        "Where the model looks",
        "Test {samples} whose truth the model found least, middling and most probable, each beside the pixels that "
        "count for what is predicted: yellow counts most, grey not at all. A map can be false, and shows neither why a "
        "pixel counts nor what is healthy; keras-lnn explain draws more and measures how true the maps are.",
    ),
    "series": Reading(
        Part.CASES,
        "Sure, unsure and wrong predictions",
        "The frames of a series in a row, each below its time; the surest right, the least sure and the surest wrong "
        "predictions (blue right, orange wrong): look for what can be seen in none of the frames, for pauses in which "
        "it was missed, and for wrong labels.",
    ),
    "course": Reading(
        Part.CASES,
        "Predictions while frames arrive",
        "The probability after each frame, from that frame and those before it alone: on the left some series, in the "
        "middle the mean of each true class with a band that holds the middle half of its series. Where the classes "
        "part, the model has seen enough; after its last frame a series keeps its prediction. On the right the "
        "brightness of the series on the left, as the mean of nine pixels where it changes most.",
    ),
}
# Pictures of a layer, whose names end in that of the layer.
_OF_LAYERS = {
    "sequence": Reading(
        Part.NETWORK,
        "How layer {} reads an image",
        "The steps in which a recurrent layer gets an image, in their order.",
    ),
    "wiring": Reading(
        Part.NETWORK,
        "Wiring of layer {}",
        "The neurons of the liquid layer from the inputs on the left to the outputs on the right; blue synapses "
        "excite, orange ones inhibit.",
    ),
}


def order_pictures(names: list[str], samples: str | None = None) -> dict[str, Reading]:
    """Returns how each known picture is read, in the order in which they are looked at; others are left out.

    Args:
        names: Names of the pictures' files without their ending.
        samples: What the samples are, in the plural; ``series`` where there is a picture of series if not given.
    """
    # Only runs on series have a picture of series.
    samples = samples or ("series" if "series" in names else "images")
    found = {name: _name_samples(reading, samples) for name, reading in _READINGS.items() if name in names}
    for kind, reading in _OF_LAYERS.items():
        for name in sorted(name for name in names if name.startswith(f"{kind}_")):
            title = reading.title.replace("{}", name.removeprefix(f"{kind}_"))
            found[name] = dataclasses.replace(reading, title=title)
    return found


def _name_samples(reading: Reading, samples: str) -> Reading:
    texts = {name: getattr(reading, name).replace("{samples}", samples) for name in ("title", "sentence")}
    return dataclasses.replace(reading, **texts)
