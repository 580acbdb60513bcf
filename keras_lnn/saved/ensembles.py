"""What the signature of an ensemble says of the models that it joins."""

import collections
import dataclasses
from typing import Any

# What stands in a signature in the place of a registered model.
ENSEMBLE = "ensemble"
# What the thresholds, sets and referral of an ensemble were chosen on, in words.
ON_VALIDATION, ON_FOLDS = "validation", "the folds that each member did not see"
# Where the promise of sets and referral that were chosen on folds comes from.
APPROXIMATE = "from predictions of single members, so that it holds only approximately for their mean"


@dataclasses.dataclass(frozen=True)
class Member:
    """A model in an ensemble.

    Args:
        run: The name of its run's folder, without the folders above, which are private.
        digest: SHA-256 of its ``best.keras``.
        model: Its registered name.
        seed: The seed of its training; None where it was not trained here.
        fold: The fold that it was tested on and their number, such as ``2/5``; None for a run of all data.
    """

    run: str
    digest: str
    model: str
    seed: int | None = None
    fold: str | None = None


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The members of an ensemble and what they have in common.

    Args:
        members: The models, in order.
        same_splits: Whether all were trained, validated and tested on the same samples. The members of a
            cross-validation were not: only a test split that the data came with is unknown to all of them.
        thresholds_on: What thresholds, prediction sets and referral were chosen on, in words.
        mirrored: Axes of an image, counted from 1, along which its mirror images are predicted as well.
    """

    members: tuple[Member, ...]
    same_splits: bool = True
    thresholds_on: str = ON_VALIDATION
    mirrored: tuple[int, ...] = ()

    def describe(self) -> str:
        """Returns how many models it joins and which, such as ``5 models: 5 cnn (folds 1/5, 2/5, ...)``."""
        counts = collections.Counter(member.model for member in self.members)
        folds = [member.fold for member in self.members if member.fold is not None]
        of_folds = f", of the folds {', '.join(folds)}" if folds else ""
        names = " and ".join(f"{count} {name}" for name, count in counts.items())
        views = f", over {2 ** len(self.mirrored)} mirror images of each image" if self.mirrored else ""
        return f"mean of the probabilities of {names}{of_folds}{views}"

    @classmethod
    def from_json(cls, content: Any) -> "Ensemble":
        """Reads what ``dataclasses.asdict`` gives."""
        if not isinstance(content, dict) or set(content) != {field.name for field in dataclasses.fields(cls)}:
            raise ValueError("ensemble must have members, same_splits, thresholds_on and mirrored")
        if not isinstance(content["same_splits"], bool) or not isinstance(content["thresholds_on"], str):
            raise ValueError("same_splits of an ensemble must be true or false, and thresholds_on text")
        if not all(isinstance(content[name], list | tuple) for name in ("members", "mirrored")):
            raise ValueError("members and mirrored of an ensemble must be lists")
        if not all(isinstance(axis, int) and 1 <= axis <= 3 for axis in content["mirrored"]):
            raise ValueError("mirrored axes of an ensemble must be from 1 to 3")
        members = tuple(_read_member(member) for member in content["members"])
        return cls(members, content["same_splits"], content["thresholds_on"], tuple(content["mirrored"]))


def _read_member(content: Any) -> Member:
    names = {field.name for field in dataclasses.fields(Member)}
    if not isinstance(content, dict) or set(content) != names:
        raise ValueError(f"a member of an ensemble must have {', '.join(sorted(names))}")
    texts = [content[name] for name in ("run", "digest", "model")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(content["fold"], str | None):
        raise ValueError("run, digest, model and fold of a member must be text")
    if not isinstance(content["seed"], int | None):
        raise ValueError("seed of a member must be a whole number")
    return Member(**content)
