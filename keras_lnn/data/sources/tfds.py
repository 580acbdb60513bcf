"""Any image classification data set of TensorFlow Datasets: ``tfds:NAME``."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import re
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from keras_lnn.data.arrays import SPLITS, ImageData, Split
from keras_lnn.data.decode.images import Progress, image_shape, read_images
from keras_lnn.data.reading import Reading
from keras_lnn.data.splitting import LIMIT_BYTES, complete_splits, place_images
from keras_lnn.errors import InputError, suggest
from keras_lnn.files.atomic import cache_folder

_SPLIT_NAMES = {"train": ("train",), "val": ("validation", "val", "valid"), "test": ("test",)}
_BATCH = 256
_WITHOUT_FILES = "The embedded phantom-breast needs no files."


def load_tfds(
    name: str,
    reading: Reading = Reading(),  # noqa: B008, it is frozen
    *,
    limit_bytes: int = LIMIT_BYTES,
) -> ImageData:
    """Loads an image classification data set of TensorFlow Datasets, which downloads it if necessary.

    The splits train, validation and test are used if they exist; missing splits are split off train, stratified. A
    split whose labels are hidden (negative) counts as missing.

    The checksum is ``tfds:NAME/VERSION:sha256:...`` over the examples of these splits in their order: for each the
    label and the number of bytes of the image file (little-endian, 8 bytes each), then these bytes. So it does not
    depend on the sharding of the files.

    Args:
        name: Such as ``mnist``, or ``name/config``; a version may follow, as in ``mnist:3.0.1``.
        reading: Its ``data_dir`` is the folder of the prepared files, if not given ``$TFDS_DATA_DIR``, else
            ``~/tensorflow_datasets``; without a size images keep their own if all have the same, else it is 64.
        limit_bytes: Decoded images beyond this size are kept in a file of the cache instead of in memory.

    Returns:
        The images; the names of the samples are the identifiers that TensorFlow Datasets gives them.
    """
    name = name.removeprefix("tfds:")
    with _quiet():
        builder = _prepared_builder(name, reading.data_dir)
        source = _Source(name, builder)
        splits = source.labelled_splits()
        labels = {split: part.labels for split, part in splits.items()}
        rows = complete_splits(labels, reading.seed, class_names=source.class_names)
        shape = source.shape(reading.size)
        checksum = f"tfds:{builder.info.full_name}:sha256:{_joined_digest(splits)}"

        def fill(images: np.ndarray, positions: np.ndarray) -> None:
            source.fill(images, positions, splits, reading.progress)

        key = hashlib.sha256(repr((checksum, shape)).encode()).hexdigest()[:32]
        cache_file = cache_folder() / "tfds" / key / "images.npy"
        images = place_images(shape, rows, fill, cache_file=cache_file, limit_bytes=limit_bytes)
    all_labels = np.concatenate(list(labels.values()))
    all_names = [example for part in splits.values() for example in part.names]
    return ImageData(
        name=f"tfds:{name}",
        task="binary" if len(source.class_names) == 2 else "multi-class",
        class_names=source.class_names,
        splits={
            split: Split(images[split], all_labels[part], [all_names[row] for row in part])
            for split, part in rows.items()
        },
        checksum=checksum,
        # If a split is missing, the train split has lost samples to it, so it is not as given.
        given_splits=tuple(split for split in splits if split != "train" or len(splits) == len(SPLITS)),
    )


class _Labels:
    """The labels, names and digest of a split, read in a first pass without decoding the pixels."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.names: list[str] = []
        self.labels = np.zeros(0, np.int64)
        self.digest = ""


class _Source:
    """The prepared files of a data set, and the names of its image and label features."""

    def __init__(self, name: str, builder: Any) -> None:
        self.name = name
        self.builder = builder
        self.image_key, self.label_key = _feature_keys(name, builder.info)
        self.image_feature = builder.info.features[self.image_key]
        self.class_names = tuple(map(str, builder.info.features[self.label_key].names))
        if len(self.class_names) < 2:
            raise InputError(
                f"A data set must have at least 2 classes. Received: tfds:{name} with {len(self.class_names)}."
                " Choose another one."
            )

    def shape(self, side: int | tuple[int, int] | None) -> tuple[int, int, int]:
        """Returns the shape of one image after decoding."""
        height, width, channels = self.image_feature.shape
        if channels not in (1, 3, 4) or np.dtype(self.image_feature.np_dtype) not in (np.uint8, np.uint16):
            raise InputError(
                f"Images must be grey or colour with 8 or 16 bits. Received: tfds:{self.name} with"
                f" {self.image_feature!r}. Choose another data set."
            )
        own_size = (height, width) if height and width else 64
        return image_shape(own_size if side is None else side, 1 if channels == 1 else 3)

    def labelled_splits(self) -> dict[str, _Labels]:
        """Reads the labels, names and checksums of the splits that have labels."""
        splits: dict[str, _Labels] = {}
        for split, spellings in _SPLIT_NAMES.items():
            present = [spelling for spelling in spellings if spelling in self.builder.info.splits]
            if present:
                part = self._read_labels(present[0])
                if len(part.labels) and part.labels.min() >= 0:
                    splits[split] = part
        if "train" not in splits:
            raise InputError(
                f"A data set must have a split train with labels. Received: tfds:{self.name} with"
                f" {', '.join(self.builder.info.splits) or 'no splits'}. Choose another one."
            )
        return splits

    def _read_labels(self, split: str) -> _Labels:
        part, digest, labels = _Labels(split), hashlib.sha256(), []
        for batch in self._batches(split):
            labels.append(batch[self.label_key].astype("<i8"))
            part.names += [example.decode() for example in batch["tfds_id"]]
            for label, image in zip(labels[-1], batch[self.image_key], strict=True):
                digest.update(label.tobytes() + len(image).to_bytes(8, "little") + image)
        part.labels = np.concatenate(labels).astype(np.int64) if labels else part.labels
        part.digest = digest.hexdigest()
        return part

    def fill(
        self, images: np.ndarray, positions: np.ndarray, splits: dict[str, _Labels], progress: Progress | None
    ) -> None:
        """Decodes the images of some splits, one after the other, to their positions in an array."""
        start = 0
        for part in splits.values():
            for batch in self._batches(part.split):
                encoded = batch[self.image_key].tolist()
                names = [f"tfds:{self.name} {example.decode()}" for example in batch["tfds_id"]]
                decoded = read_images(encoded, side=images.shape[1:3], channels=images.shape[3], names=names)
                images[positions[start : start + len(encoded)]] = decoded
                start += len(encoded)
                if progress is not None:
                    progress(start / len(images))

    def _batches(self, split: str) -> Iterator[dict[str, np.ndarray]]:
        """Yields the encoded images, labels and names of a split, in the order of the files."""
        import tensorflow as tf
        import tensorflow_datasets as tfds

        decoders = tfds.decode.PartialDecoding(
            {self.image_key: True, self.label_key: True}, decoders={self.image_key: tfds.decode.SkipDecoding()}
        )
        try:
            dataset = self.builder.as_dataset(
                split=split,
                decoders=decoders,
                shuffle_files=False,
                read_config=tfds.ReadConfig(add_tfds_id=True, try_autocache=False),
            )
            yield from dataset.batch(_BATCH).as_numpy_iterator()
        except (tf.errors.OpError, OSError) as error:
            raise InputError(
                f"The files of tfds:{self.name} must be whole. Received: {_one_line(error)}."
                f" Delete {self.builder.data_path} and load the data set again."
            ) from error


def _joined_digest(splits: dict[str, _Labels]) -> str:
    lines = [f"{split} {part.digest}\n" for split, part in splits.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _feature_keys(name: str, info: Any) -> tuple[str, str]:
    """Returns the names of the only image and the only class label among the features."""
    import tensorflow_datasets as tfds

    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    # A LabeledImage is a mask, though its class is a kind of Image.
    images = [key for key, feature in features.items() if type(feature) is tfds.features.Image]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    pairs = [info.supervised_keys or (), ("image", "label"), (*images, *labels)]
    for pair in pairs:
        if len(pair) == 2 and pair[0] in images and pair[1] in labels:
            return pair
    received = ", ".join(f"{key}: {type(feature).__name__}" for key, feature in sorted(features.items()))
    raise InputError(
        f"A data set must have one image and one class label to a sample. Received: tfds:{name} with"
        f" {received or type(info.features).__name__}. Choose an image classification data set."
    )


def _prepared_builder(name: str, data_dir: str | os.PathLike | None) -> Any:
    """Returns the builder of a data set whose files exist, after downloading them if necessary."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"tfds:{name} needs TensorFlow Datasets. Received: {_one_line(error)}. Install tensorflow-datasets."
        ) from error
    folder = Path(tfds.core.constants.DATA_DIR if data_dir is None else data_dir).expanduser()
    try:
        builder = tfds.builder(name, data_dir=folder, try_gcs=False)
    except ImportError as error:
        raise _missing_package(name, error) from error
    except Exception as error:  # tfds has no common class for errors in a name
        raise InputError(_describe_unknown(name, folder, error)) from error
    try:
        if not builder.data_path.exists():
            _feature_keys(name, builder.info)  # before gigabytes are downloaded in vain
            _check_reachable(name, builder, folder)
            options = tfds.download.DownloadConfig(try_download_gcs=False)
            builder.download_and_prepare(download_config=options)  # ty: ignore[missing-argument] a decorator hides self
    except InputError:
        raise
    except ImportError as error:
        raise _missing_package(name, error) from error
    except Exception as error:  # errors of network, disk, checksums or manual downloads have no common class
        raise InputError(
            f"tfds:{name} must be in {folder} or be downloaded, which failed. Received: {_one_line(error)}."
            f" Correct that, or copy the prepared files there. {_WITHOUT_FILES}"
        ) from error
    return builder


def _missing_package(name: str, error: ImportError) -> InputError:
    package = error.name or "a package that is not installed"
    return InputError(
        f"tfds:{name} must have the packages that its preparation imports. Received: {_one_line(error)}."
        f" Install {package.replace('_', '-')}. {_WITHOUT_FILES}"
    )


def _check_reachable(name: str, builder: Any, folder: Path) -> None:
    """Raises an error at once without a network, since TensorFlow Datasets would retry for minutes."""
    import requests

    for url in list(builder.url_infos or ())[:1]:
        if url.startswith(("http://", "https://")):
            try:
                requests.head(url, timeout=20)
            except requests.exceptions.RequestException as error:
                raise InputError(
                    f"tfds:{name} must be in {folder} or be downloaded. Received: no reply from"
                    f" {urlsplit(url).hostname}. Connect to the network or copy the prepared files there."
                    f" {_WITHOUT_FILES}"
                ) from error


def _describe_unknown(name: str, folder: Path, error: Exception) -> str:
    import tensorflow_datasets as tfds

    base, *rest = re.split(r"[/:]", name)
    in_folder = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    known = set(tfds.list_builders(with_community_datasets=False)) | set(in_folder) - {"downloads"}
    if base not in known:
        return (
            f"tfds:NAME must name a data set of TensorFlow Datasets or one in {folder}. Received: tfds:{name}."
            f" {_nearest(base, known, 'overview')} {_WITHOUT_FILES}"
        )
    with contextlib.suppress(ValueError):
        configs = list(tfds.builder_cls(base).builder_configs)
        if rest and rest[0] not in configs and "/" in name:
            choices = _nearest(rest[0], configs, base) if configs else f"Leave it out: tfds:{base}."
            return f"tfds:{base}/CONFIG must name a configuration of {base}. Received: {rest[0]}. {choices}"
    return (
        f"tfds:{name} must have a version that its code or {folder} knows. Received: {_one_line(error)}."
        f" Name no version, or copy the prepared files there. {_WITHOUT_FILES}"
    )


def _nearest(name: str, choices: Collection[str], page: str) -> str:
    """Returns the nearest choices, or where to look them up if there are hundreds."""
    suggestion = suggest(name, choices)
    few = suggestion.startswith("Did you mean") or len(choices) <= 12
    return suggestion if few else f"See tensorflow.org/datasets/catalog/{page}."


def _one_line(error: BaseException, limit: int = 160) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
    return (text if len(text) <= limit else text[:limit] + "...").rstrip(".:")


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Suppresses the messages and progress bars of TensorFlow Datasets, and restores the settings."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow", "urllib3")]
    levels = [logger.level for logger in loggers]
    with contextlib.ExitStack() as stack:
        for logger, level in zip(loggers, levels, strict=True):
            stack.callback(logger.setLevel, level)
            logger.setLevel(logging.ERROR)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        with contextlib.suppress(ImportError):
            import tensorflow_datasets as tfds

            if getattr(tfds.core.utils.tqdm_utils, "_active", True):
                stack.callback(tfds.enable_progress_bar)
                tfds.disable_progress_bar()
        yield
