"""Detection of copies of an image: the same pixels, or nearly the same after it was saved or resized again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from keras_lnn.data.arrays import ImageArray

_SIDE = 16
_DIGEST_BYTES = 8
# A smaller image has too little detail to be identified by its miniature.
_SMALLEST_SIDE = 16
# For a perceptual hash: candidates agree in all bits of one band, and differ in at most this many bits of all bands.
_BANDS, _BITS_OF_A_BAND = 16, 16
_DIFFERING_BITS = 40
_NEIGHBOURS = 64
# Standard deviation of the grey values of a miniature below which an image is too plain to be compared.
_LEAST_DEVIATION = 2.0
# The least correlation between copies: of miniatures minus their mean over the set, and of the images. For other pairs
# at least one of them is lower.
_OF_MINIATURES, _OF_IMAGES = 0.96, 0.98
_ROWS_AT_ONCE = 256
# A miniature as numbers takes 1 KiB, so those of a large set are computed in parts, whenever they are needed.
_MINIATURES_AT_ONCE = 4096
_MOST_COMPARED = 5000


def digest_values(values: np.ndarray) -> str:
    """Returns a hash of the values of an image in its own size; grey stored as colour has the same hash as grey."""
    if values.ndim == 3 and values.shape[-1] == 3:
        red, green, blue = (values[..., channel] for channel in range(3))
        values = red if np.array_equal(red, green) and np.array_equal(green, blue) else values
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()[: 2 * _DIGEST_BYTES]


def fingerprint(images: ImageArray, digests: Sequence[str]) -> np.ndarray:
    """Returns the hash of the values and a miniature of each image, by which copies are found.

    Args:
        images: uint8, (images, ..., height, width, channels).
        digests: Results of :func:`digest_values`; empty for an image that could not be read.

    Returns:
        uint8, (images, 264): 8 bytes of the hash, and 16 x 16 grey values.
    """
    prints = np.zeros((len(images), _DIGEST_BYTES + _SIDE**2), np.uint8)
    for start in range(0, len(images), _ROWS_AT_ONCE):
        part = images[start : start + _ROWS_AT_ONCE]
        rows = slice(start, start + len(part))
        numbers = b"".join(bytes.fromhex(digest.rjust(2 * _DIGEST_BYTES, "0")) for digest in digests[rows])
        prints[rows, :_DIGEST_BYTES] = np.frombuffer(numbers, np.uint8).reshape(len(part), -1)
        prints[rows, _DIGEST_BYTES:] = _draw_miniatures(part)
    return prints


def digests_of(prints: np.ndarray) -> list[str]:
    """Returns the hash of the values of each image, equal for equal values."""
    return [row.tobytes().hex() for row in prints[:, :_DIGEST_BYTES]]


def find_near_copies(prints: np.ndarray, images: ImageArray, parts: np.ndarray) -> list[tuple[int, int]]:
    """Finds images of different parts of a set that look the same though their pixels differ.

    A perceptual hash, the signs of random projections of the miniatures minus their mean, selects candidates, whose
    miniatures and pixels are then compared.

    Args:
        prints: Result of :func:`fingerprint`.
        images: The images themselves.
        parts: The part of each image.

    Returns:
        Pairs of rows, each with the lower one first.
    """
    miniatures = _Miniatures(prints)
    varied = miniatures.rows
    if len(varied) < 2:
        return []
    digests = prints[varied, :_DIGEST_BYTES].view(np.uint64)[:, 0]
    # A pair as one number, which rises with the lower row, then with the higher one.
    pairs = np.zeros(0, np.int64)
    for one, other in _find_candidates(miniatures.hash()):
        numbers = np.minimum(one, other) * len(varied) + np.maximum(one, other)
        chosen = (parts[varied[one]] != parts[varied[other]]) & (digests[one] != digests[other])
        if len(pairs) == _MOST_COMPARED:
            chosen &= numbers < pairs[-1]
        chosen &= ~np.isin(numbers, pairs)
        alike = miniatures.correlate(one[chosen], other[chosen]) >= _OF_MINIATURES
        if alike.any():
            pairs = np.union1d(pairs, numbers[chosen][alike])[:_MOST_COMPARED]
    ones, others = (varied[places].tolist() for places in np.divmod(pairs, len(varied)))
    return [pair for pair in zip(ones, others, strict=True) if _look_the_same(images[pair[0]], images[pair[1]])]


class _Miniatures:
    """The miniatures of images that are not too plain to be compared, minus their mean over the set, of length 1.

    Attributes:
        rows: Which of the images they are of.
    """

    def __init__(self, prints: np.ndarray) -> None:
        self._values = prints[:, _DIGEST_BYTES:]
        every = np.arange(len(prints))
        deviations = [self._values[part].astype(np.float32).std(axis=1) for part in _in_parts(every)]
        self.rows = np.flatnonzero(np.concatenate([np.zeros(0), *deviations]) >= _LEAST_DEVIATION)
        total = np.zeros(self._values.shape[1])
        for part in _in_parts(self.rows):
            total += _scale(self._values[part].astype(np.float32)).sum(axis=0, dtype=np.float64)
        self._mean = (total / max(len(self.rows), 1)).astype(np.float32)

    def hash(self) -> np.ndarray:
        """Returns the signs of random projections of each miniature, packed into bytes."""
        directions = np.random.default_rng(0).standard_normal((len(self._mean), _BANDS * _BITS_OF_A_BAND))
        directions = directions.astype(np.float32)
        every = np.arange(len(self.rows))
        return np.concatenate([np.packbits(self._take(part) @ directions > 0, axis=1) for part in _in_parts(every)])

    def correlate(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Returns the correlation of each pair of miniatures."""
        found = [np.zeros(0, np.float32)]
        for pairs in _in_parts(np.stack([one, other], axis=1)):
            found.append(np.einsum("ij,ij->i", self._take(pairs[:, 0]), self._take(pairs[:, 1])))
        return np.concatenate(found)

    def _take(self, places: np.ndarray) -> np.ndarray:
        return _scale(_scale(self._values[self.rows[places]].astype(np.float32)) - self._mean)


def _in_parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields as many rows at a time as are computed at once."""
    for start in range(0, len(rows), _MINIATURES_AT_ONCE):
        yield rows[start : start + _MINIATURES_AT_ONCE]


def _draw_miniatures(images: np.ndarray) -> np.ndarray:
    """Returns images as 16 x 16 grey values, (images, 256); depth and channels are averaged."""
    height, width = images.shape[-3:-1]
    if min(height, width) < _SMALLEST_SIDE:
        return np.zeros((len(images), _SIDE**2), np.uint8)
    layers = images.reshape(len(images), -1, height, width, images.shape[-1])
    alone = layers.shape[1] == layers.shape[4] == 1  # a mean over one value takes much longer than the value
    grey = layers[:, 0, ..., 0].astype(np.float32) if alone else layers.mean(axis=(1, 4), dtype=np.float32)
    means = _box_means(height) @ grey @ _box_means(width).T
    return np.rint(means).astype(np.uint8).reshape(len(images), -1)


def _box_means(length: int) -> np.ndarray:
    """Returns the matrix that averages a line of pixels over boxes of equal length, which may end within pixels."""
    edges = np.linspace(0, length, _SIDE + 1)
    starts, stops = edges[:-1, None], edges[1:, None]
    pixels = np.arange(length)
    covered = np.clip(np.minimum(stops, pixels + 1) - np.maximum(starts, pixels), 0, None)
    return (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)


def _scale(values: np.ndarray) -> np.ndarray:
    """Scales rows to mean 0 and length 1."""
    values = values - values.mean(axis=1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)


def _find_candidates(hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields pairs of rows whose perceptual hashes agree in a whole band and differ in a few bits only."""
    words, keys = hashes.view(np.uint64), hashes.view(np.uint16)
    for band in range(_BANDS):
        # If very many agree in the band, those that agree in more bits are neighbours after sorting.
        order = np.lexsort((*words.T, keys[:, band]))
        sorted_keys = keys[order, band]
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            agree = np.flatnonzero(sorted_keys[step:] == sorted_keys[:-step])
            if not len(agree):
                break
            one, other = order[agree], order[agree + step]
            near = np.bitwise_count(words[one] ^ words[other]).sum(axis=1) <= _DIFFERING_BITS
            yield one[near], other[near]


def _look_the_same(one: np.ndarray, other: np.ndarray) -> bool:
    first, second = _scale(np.stack([one.reshape(-1), other.reshape(-1)]).astype(np.float32))
    return bool(first @ second >= _OF_IMAGES)
