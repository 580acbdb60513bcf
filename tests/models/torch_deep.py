"""Deep networks as in PyTorch, in plain NumPy: state_dicts by torchvision's names, channels first."""

from collections.abc import Callable, Sequence

import numpy as np

Arrays = dict[str, np.ndarray]


def draw_convolution(generator, name: str, filters: int, channels: int, kernel: int, has_bias: bool) -> Arrays:
    """Returns random weights of a convolution, scaled so that the maps after it neither vanish nor explode."""
    shape = (filters, channels, kernel, kernel)
    deviation = np.float32((2 / (channels * kernel**2)) ** 0.5)
    arrays = {f"{name}.weight": deviation * generator.standard_normal(shape, np.float32)}
    return arrays | ({f"{name}.bias": generator.normal(0, 0.1, filters)} if has_bias else {})


def draw_normalisation(generator, name: str, channels: int) -> Arrays:
    """Random weights and statistics of a batch normalisation."""
    return {
        f"{name}.weight": generator.uniform(0.5, 1.0, channels),
        f"{name}.bias": generator.normal(0, 0.2, channels),
        f"{name}.running_mean": generator.normal(0, 0.2, channels),
        f"{name}.running_var": generator.uniform(0.5, 1.5, channels),
        f"{name}.num_batches_tracked": np.array(7),
    }


def draw_dense(generator, name: str, units: int, features: int) -> Arrays:
    """Random weights of a dense layer."""
    weight = np.float32((2 / features) ** 0.5) * generator.standard_normal((units, features), np.float32)
    return {f"{name}.weight": weight, f"{name}.bias": generator.normal(0, 0.1, units)}


def residual_state_dict(
    repeats: Sequence[int], bottleneck: bool, has_biases: bool, kernel: int, width: int = 64
) -> Arrays:
    """Random weights of a network of one channel and three classes, in torchvision's order."""
    generator = np.random.default_rng(0)
    arrays = draw_convolution(generator, "conv1", width, 1, kernel, has_biases)
    arrays |= draw_normalisation(generator, "bn1", width)
    before = width
    for stage, count in enumerate(repeats):
        own = width * 2**stage
        after = 4 * own if bottleneck else own
        inside = [(own, 1), (own, 3), (after, 1)] if bottleneck else [(own, 3), (own, 3)]
        for block in range(count):
            name, channels = f"layer{stage + 1}.{block}", before
            for index, (filters, size) in enumerate(inside, start=1):
                arrays |= draw_convolution(generator, f"{name}.conv{index}", filters, before, size, has_biases)
                arrays |= draw_normalisation(generator, f"{name}.bn{index}", filters)
                before = filters
            if channels != after or (stage and not block):
                arrays |= draw_convolution(generator, f"{name}.downsample.0", after, channels, 1, has_biases)
                arrays |= draw_normalisation(generator, f"{name}.downsample.1", after)
    return arrays | draw_dense(generator, "fc", 3, before)


def run_residual(arrays: Arrays, repeats: Sequence[int], bottleneck: bool, maps: np.ndarray) -> np.ndarray:
    """The logits of pixels -1..1, channels first; a first kernel of 7 has stride 2 and pooling after it."""
    large = arrays["conv1.weight"].shape[-1] == 7
    maps = np.maximum(normalise(arrays, "bn1", convolve(arrays, "conv1", maps, 2 if large else 1)), 0)
    maps = pool(pad(maps, 1), 3, 2, np.max) if large else maps
    for stage, count in enumerate(repeats):
        for block in range(count):
            name, strides = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            inside = maps
            last, strided = (3, 2) if bottleneck else (2, 1)
            for index in range(1, last + 1):
                inside = convolve(arrays, f"{name}.conv{index}", inside, strides if index == strided else 1)
                inside = normalise(arrays, f"{name}.bn{index}", inside)
                inside = np.maximum(inside, 0) if index < last else inside
            if f"{name}.downsample.0.weight" in arrays:
                maps = normalise(
                    arrays, f"{name}.downsample.1", convolve(arrays, f"{name}.downsample.0", maps, strides)
                )
            maps = np.maximum(inside + maps, 0)
    return apply_dense(arrays, "fc", maps.mean(axis=(2, 3)))


def convolve(arrays: Arrays, name: str, maps: np.ndarray, strides: int = 1) -> np.ndarray:
    """A convolution with zeros on every side, half a kernel of them."""
    weight = arrays[f"{name}.weight"]
    filters, channels, kernel, _ = weight.shape
    windows = np.lib.stride_tricks.sliding_window_view(pad(maps, kernel // 2), (kernel, kernel), axis=(2, 3))
    windows = windows[:, :, ::strides, ::strides].transpose(0, 2, 3, 1, 4, 5)
    found = windows.reshape(*windows.shape[:3], channels * kernel**2) @ weight.reshape(filters, -1).T
    return (found + arrays.get(f"{name}.bias", 0.0)).transpose(0, 3, 1, 2)


def normalise(arrays: Arrays, name: str, maps: np.ndarray) -> np.ndarray:
    """Applies batch normalisation by its running statistics."""
    keys = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, shift = (arrays[f"{name}.{key}"][:, None, None] for key in keys)
    return (maps - mean) / np.sqrt(variance + 1e-5) * scale + shift


def apply_dense(arrays: Arrays, name: str, features: np.ndarray) -> np.ndarray:
    """A dense layer."""
    return features @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]


def pad(maps: np.ndarray, width: int) -> np.ndarray:
    """Pads with zeros on every side."""
    return np.pad(maps, ((0, 0), (0, 0), (width, width), (width, width)))


def pool(maps: np.ndarray, window: int, strides: int, reduce: Callable) -> np.ndarray:
    """Applies pooling without padding."""
    windows = np.lib.stride_tricks.sliding_window_view(maps, (window, window), axis=(2, 3))
    return reduce(windows[:, :, ::strides, ::strides], axis=(4, 5))


def average_to(maps: np.ndarray, side: int) -> np.ndarray:
    """PyTorch's AdaptiveAvgPool2d: place i is the mean from floor(i own / side) to ceil((i + 1) own / side)."""
    rows, columns = (
        [slice(place * own // side, -(-(place + 1) * own // side)) for place in range(side)] for own in maps.shape[2:]
    )
    return np.stack([np.stack([maps[:, :, i, j].mean(axis=(2, 3)) for j in columns], -1) for i in rows], -2)
