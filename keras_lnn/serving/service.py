"""What a server knows and does, without HTTP: it describes its model, and answers uploads."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_lnn import __version__
from keras_lnn.data.arrays import ImageArray, as_series, take_images
from keras_lnn.errors import InputError
from keras_lnn.files.atomic import without_nan
from keras_lnn.saved.card import describe_thresholds, describe_use
from keras_lnn.saved.predictor import KerasPredictor, Predictor
from keras_lnn.saved.signature import Signature
from keras_lnn.serving.limits import Deadline, Limits, Refused
from keras_lnn.serving.model_thread import ModelThread
from keras_lnn.serving.pictures import draw_map, draw_sample, read_as_data
from keras_lnn.serving.readers import Readers
from keras_lnn.serving.reading import PROBABILITIES, load_samples
from keras_lnn.serving.uploads import Upload

if TYPE_CHECKING:
    from keras_lnn.explaining.neighbours import LearnedFeatures

# Pictures and maps are made for so many samples of a request.
MOST_PICTURED, MOST_MAPPED = 24, 4
# Numbers that are held at a time for the masks of a request.
_NUMBERS_AT_A_TIME = 2**24


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What compares samples with those that a model has learned from.

    Args:
        learned: The features of these.
        compare: Gives how like them samples are.
    """

    learned: LearnedFeatures
    compare: Callable[[ImageArray], np.ndarray]


class Service:
    """A model that answers uploads.

    Args:
        predictor: The model.
        name: What it is called.
        limits: What is accepted.
        readers: The processes that read files.
        comparison: What compares samples with those that the model has learned from; None for no comparison.
    """

    def __init__(
        self,
        predictor: Predictor,
        name: str,
        limits: Limits,
        readers: Readers,
        comparison: Comparison | None = None,
    ) -> None:
        self.limits = limits
        self.predictor = predictor
        self._comparison = comparison
        self._signature = predictor.signature
        self._task = self._signature.get_task()
        self.can_map = isinstance(predictor, KerasPredictor)
        self.description = _describe(self._signature, name, limits, self.can_map, comparison is not None)
        self.model = ModelThread(predictor)
        self._readers = readers

    def stop(self) -> None:
        """Ends the thread of the model."""
        self.model.stop()

    def answer(self, upload: Upload, deadline: Deadline) -> bytes:
        """Returns the answer to an upload as JSON.

        Args:
            upload: The files and what is asked of them.
            deadline: When the answer is no longer waited for.
        """
        asked = upload.asked
        if asked.map and not self.can_map:
            raise Refused(
                422,
                "A map needs a run or a .keras file. Received: a model that was exported. Serve its run, or leave map"
                " out.",
            )
        files = [file.name for file in upload.files]
        order: dict[str, Any] = {"folder": str(upload.folder), "skip_bad": asked.skip_bad}
        order["signature"] = self._signature.to_json()
        read = {"work": "read", "files": files, "labels": upload.labels, "times": asked.times}
        found = self._readers.obey(order | read, deadline)
        samples, names, warnings = load_samples(upload.folder), found["names"], list(found["warnings"])
        if self._task.resizes_labels:
            order |= {"paths": found["paths"], "labels": found["labels"]}
            answers = self._segment(upload, samples, order, deadline)
        else:
            answers = self._classify(samples, deadline)
        self._add_likeness(answers, samples, names, warnings, deadline)
        for row, answer in enumerate(answers):
            answer["name"] = names[row]
            answer["warnings"] = _find_faults(samples, row)
        self._add_pictures(answers, upload, samples, names, warnings, deadline)
        order_of_keys = ("name", "probabilities", "decision", "set", "refer", "areas", "likeness", "warnings")
        pictures = ("picture", "map", "mask", "overlay")
        predictions = [{key: answer.get(key) for key in (*order_of_keys, *pictures)} for answer in answers]
        content = {"model": self.description["model"], "predictions": predictions, "warnings": warnings}
        content |= {"notice": self.description["notice"]}
        return json.dumps(without_nan(content), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")

    def _classify(self, samples: ImageArray, deadline: Deadline) -> list[dict[str, Any]]:
        """Returns probabilities, decisions and what is promised."""
        probabilities, names = self.model.predict(samples, deadline), self._signature.class_names
        decided = self._task.name_decision(self._task.decide(probabilities, self._signature.thresholds))
        promised = self._signature.find_promised(probabilities)
        answers = []
        for row, values in enumerate(probabilities.tolist()):
            answer: dict[str, Any] = {
                "probabilities": dict(zip(names, values, strict=True)),
                "decision": str(decided[row]),
            }
            if "set" in promised:
                answer["set"] = [name for name, is_in in zip(names, promised["set"][row], strict=True) if is_in]
            if "refer" in promised:
                answer["refer"] = bool(promised["refer"][row])
            answers.append(answer)
        return answers

    def _segment(
        self, upload: Upload, samples: ImageArray, order: dict[str, Any], deadline: Deadline
    ) -> list[dict[str, Any]]:
        """Returns masks, overlays and the area of each class."""
        shape = (len(samples), *self._task.output_shape(self._signature.image_shape))
        path = upload.folder / PROBABILITIES
        kept = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        step = max(1, _NUMBERS_AT_A_TIME // int(np.prod(shape[1:])))
        for start in range(0, len(samples), step):
            rows = slice(start, start + step)
            kept[rows] = self.model.predict(take_images(samples, rows), deadline)
        kept.flush()
        del kept
        found = self._readers.obey(order | {"work": "masks"}, deadline)
        return [
            {"mask": upload.folder / mask, "overlay": upload.folder / overlay, "areas": areas}
            for mask, overlay, areas in zip(found["masks"], found["overlays"], found["areas"], strict=True)
        ]

    def _add_likeness(
        self,
        answers: list[dict[str, Any]],
        samples: ImageArray,
        names: Sequence[str],
        warnings: list[str],
        deadline: Deadline,
    ) -> None:
        """Adds how like those that were learned the samples are, and a warning of those that are not."""
        if self._comparison is None:
            return
        from keras_lnn.explaining.likeness import warn_of_unlike

        values = self.model.call_in_parts(self._comparison.compare, samples, deadline)
        for answer, value in zip(answers, values.tolist(), strict=True):
            answer["likeness"] = value
        sentence = warn_of_unlike(names, values, self._comparison.learned)
        warnings += [] if sentence is None else [sentence]

    def _add_pictures(
        self,
        answers: list[dict[str, Any]],
        upload: Upload,
        samples: ImageArray,
        names: Sequence[str],
        warnings: list[str],
        deadline: Deadline,
    ) -> None:
        """Adds the samples as the model reads them, maps of where it looks, and masks."""
        asked = upload.asked
        for answer in answers:
            if "mask" in answer:
                answer["mask"] = read_as_data(answer["mask"])
                answer["overlay"] = read_as_data(answer["overlay"]) if answer["overlay"].exists() else None
        if asked.picture:
            pixels = np.asarray(samples[: min(MOST_PICTURED, len(samples))])
            for answer, image in zip(answers, pixels, strict=False):
                answer["picture"] = draw_sample(image)
        if asked.map:
            self._add_maps(answers, samples, names, deadline)
        for is_asked, what, most in ((asked.picture, "pictures", MOST_PICTURED), (asked.map, "maps", MOST_MAPPED)):
            if is_asked and len(answers) > most:
                warnings.append(f"{what} were made of the first {most} of {len(answers)} {self._signature.samples}")

    def _add_maps(
        self, answers: list[dict[str, Any]], samples: ImageArray, names: Sequence[str], deadline: Deadline
    ) -> None:
        from keras_lnn.explaining.explanations import explain_samples
        from keras_lnn.explaining.maps import DEFAULT_METHOD

        for row in range(min(MOST_MAPPED, len(samples))):
            one = take_images(samples, slice(row, row + 1))
            if as_series(one) is None:
                one = np.asarray(one[:])
            make = functools.partial(
                explain_samples,
                self.predictor,
                one,
                [names[row]],
                [DEFAULT_METHOD],
                before_batch=deadline.remaining,
            )
            try:
                explained = self.model.call(make, deadline)
            except InputError as error:
                raise Refused(422, str(error)) from None
            answers[row]["map"] = draw_map(explained[0])


def _find_faults(samples: ImageArray, row: int) -> list[str]:
    """Returns sentences on what is wrong with the pixels of a sample."""
    pixels = np.asarray(samples[row : row + 1])
    if pixels.min() == pixels.max():
        return [f"every pixel has the same value, {pixels.min()}, so that the prediction means nothing"]
    return []


def _describe(signature: Signature, name: str, limits: Limits, can_map: bool, compares: bool) -> dict[str, Any]:
    """Returns what a model is, for its page and for programs."""
    task, sets, referral = signature.get_task(), signature.sets, signature.referral
    kind = "volumes" if len(signature.image_shape) == 4 and signature.time_unit is None else signature.samples
    use, heading, reason = describe_use(task, signature.samples)
    thresholds = signature.thresholds
    return {
        "model": name,
        "network": signature.model,
        "task": signature.task,
        "classes": list(signature.class_names),
        "predicts": "masks" if task.resizes_labels else "probabilities",
        "reads": kind,
        "shape": list(signature.image_shape),
        "time_unit": signature.time_unit,
        "data": signature.data,
        "members": None if signature.ensemble is None else len(signature.ensemble.members),
        "calibrated": signature.calibration is not None,
        "calibration": None if signature.calibration is None else signature.calibration.describe(signature.class_names),
        "thresholds": None if thresholds is None else dict(zip(signature.class_names, thresholds, strict=True)),
        "decision": describe_thresholds(signature),
        "coverage": None if sets is None else {"share": sets.coverage, "of_each_class": sets.by_class},
        "referral": None if referral is None else {"risk": referral.risk, "confidence": referral.confidence},
        "colours": list(signature.colours) if signature.colours else _class_colours(len(signature.class_names)),
        "maps": can_map,
        "likeness": compares,
        "use": use,
        "notice": f"{heading}: {reason}",
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "pixels": limits.pixels,
            "files": limits.files,
            "timeout_seconds": limits.timeout_seconds,
        },
        "version": __version__,
    }


def _class_colours(count: int) -> list[str]:
    """Returns the colour of each class on overlays, of which the first one is not drawn."""
    from keras_lnn.plots.masks import class_colour

    return ["#000000", *(class_colour(place) for place in range(count - 1))]
