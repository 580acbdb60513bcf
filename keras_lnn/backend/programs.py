"""Parts of a network that are compiled by themselves, and the graphs that they are in."""

import contextlib
import contextvars
import functools
import logging
import platform
from collections.abc import Callable, Generator
from typing import Any

import keras

from keras_lnn.backend.devices import count_shares

_graphs = contextvars.ContextVar("graphs", default="compiled")
_batch_sizes: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("batch_sizes", default=())


def call_compiled(function: Callable[..., Any], *arguments: Any, programs: dict[Any, Any] | None = None) -> Any:
    """Calls a function of tensors as a separate XLA program if the backend is building a graph.

    Hundreds of small operations in a row, as in a recurrence, run several times faster that way, while convolutions on
    a CPU run slower: only the former should be compiled. JAX compiles everything itself; eager calls are not compiled.

    Inside a graph that is compiled as a whole the function is called directly. A separate program would pass the axes
    of its transpositions to its gradient, which must know them at compile time; TensorFlow then treats all inputs of
    such a program, images and weights, as constants, and compiles the whole anew for each batch.

    Args:
        function: The function; it reads no tensors of a graph but its arguments.
        *arguments: Structures of tensors or None.
        programs: Holds the programs of the same function for other graphs, such as those of validation and prediction,
            which then need not be traced and compiled again. None if the function is another one in each graph.
    """
    if not compiles_separately():
        return function(*arguments)
    shapes = [None if part is None else part.shape for part in keras.tree.flatten(arguments)]
    return _call_program(function, arguments, shapes, programs)


def compiles_separately() -> bool:
    """Returns whether a part of the graph that is being built, if one is, should be a program of its own."""
    if keras.backend.backend() != "tensorflow" or _graphs.get() != "compiled" or not _has_xla():
        return False
    import tensorflow as tf

    return not tf.executing_eagerly() and not compiles_all()


def _call_program(function: Callable[..., Any], arguments: Any, shapes: list[Any], programs: Any) -> Any:
    """Calls a program for arguments of some shapes, which is one of those that are kept or becomes one."""
    import tensorflow as tf

    if programs is None or count_shares() > 1:
        return tf.function(function, jit_compile=True, autograph=False)(*arguments)
    given = [tf.convert_to_tensor(part) for part in keras.tree.flatten(arguments) if part is not None]
    is_given = keras.tree.map_structure(lambda part: part is not None, arguments)
    specs = [
        tf.TensorSpec(shape, part.dtype)
        for shape, part in zip([shape for shape in shapes if shape is not None], given, strict=True)
    ]
    key = (*keras.tree.flatten(is_given), *specs)
    if key not in programs:

        def call(*tensors: Any) -> Any:
            rest = iter(tensors)
            return function(*keras.tree.map_structure(lambda part: next(rest) if part else None, is_given))

        programs[key] = tf.function(call, jit_compile=True, autograph=False).get_concrete_function(*specs)
    return programs[key](*given)


def compiles_all() -> bool:
    """Returns whether XLA compiles everything that is computed here, and not only what is called by itself."""
    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend() == "jax"
    import tensorflow as tf

    return tf.__internal__.get_enclosing_xla_context() is not None


@contextlib.contextmanager
def filling_batches(*sizes: int) -> Generator[None]:
    """Makes functions that :func:`call_filled` calls in the graphs that are built inside the context take few sizes.

    XLA compiles a program for each size of a batch, which takes as long as dozens of training steps. The smaller last
    batch of a split then needs no program of its own.

    Args:
        *sizes: Sizes of batches; a smaller batch is filled up to the next one.
    """
    token = _batch_sizes.set(tuple(sorted(set(sizes))))
    try:
        yield
    finally:
        _batch_sizes.reset(token)


def call_filled(function: Callable[..., Any], *arguments: Any, programs: dict[Any, Any] | None = None) -> Any:
    """Calls a function as :func:`call_compiled` does, with batches that :func:`filling_batches` fills up.

    Args:
        function: Function that treats each sample alone.
        *arguments: Structures of tensors with one entry per sample, or None.
        programs: As of :func:`call_compiled`.
    """
    sizes, values = _batch_sizes.get(), [part for part in keras.tree.flatten(arguments) if part is not None]
    if not sizes or not compiles_separately():
        return call_compiled(function, *arguments, programs=programs)
    import tensorflow as tf

    rows = tf.shape(values[0])[0]
    filled = rows
    for size in reversed(sizes):
        filled = tf.where(rows <= size, size, filled)

    def fill(part: Any) -> Any:
        # Copies of the last sample are valid input for any function.
        copies = tf.repeat(part[-1:], filled - rows, axis=0)
        return tf.concat([part, copies], 0)

    given = keras.tree.map_structure(lambda part: part if part is None else fill(part), arguments)
    shapes = [None if part is None else (None, *part.shape[1:]) for part in keras.tree.flatten(given)]
    found = _call_program(function, given, shapes, programs)
    count = values[0].shape[0]
    return keras.tree.map_structure(lambda part: tf.ensure_shape(part[:rows], (count, *part.shape[1:])), found)


def compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of structures of arrays that is traced once per shape; its weights must stay the same on JAX.

    A recurrence that is called step by step takes a hundred times as long as one in a graph.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    traced = tf.function(function, autograph=False)
    programs: dict[Any, Callable[..., Any]] = {}

    def call(*arguments: Any) -> Any:
        tensors = keras.tree.map_structure(tf.convert_to_tensor, arguments)
        shapes = tuple(tuple(tensor.shape) for tensor in keras.tree.flatten(tensors))
        # Kept here, since TensorFlow warns of each function that a new network or a smaller last batch traces again.
        if shapes not in programs:
            programs[shapes] = traced.get_concrete_function(*tensors)
        return programs[shapes](*tensors)

    return call


@contextlib.contextmanager
def plain_graphs(*, loops: bool = False) -> Generator[None]:
    """Makes recurrences plain operations instead of compiled programs inside the context, for other runtimes.

    Args:
        loops: Whether steps remain loops, which TensorFlow runs everywhere, or are unrolled, as LiteRT needs them; then
            the number of steps must be known.
    """
    token = _graphs.set("loops" if loops else "plain")
    try:
        yield
    finally:
        _graphs.reset(token)


def builds_plain_graphs() -> bool:
    """Returns whether loops are not allowed, inside :func:`plain_graphs`."""
    return _graphs.get() == "plain"


@contextlib.contextmanager
def using_many_models() -> Generator[None]:
    """Hides TensorFlow's warning of functions that are traced often: each of several models is traced once."""

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


@functools.cache
def _has_xla() -> bool:
    """Returns whether XLA is available, which TensorFlow's plugin for the GPUs of Apple lacks."""
    import tensorflow as tf

    return platform.system() != "Darwin" or not tf.config.list_physical_devices("GPU")
