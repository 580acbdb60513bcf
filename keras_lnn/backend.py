"""Functions that depend on the Keras backend and the machine: seeds, determinism, precision, compiling, devices."""

import contextlib
import contextvars
import functools
import importlib.metadata
import logging
import os
import platform
from collections.abc import Callable, Generator, Sequence
from typing import Any

import keras

_graphs = contextvars.ContextVar("graphs", default="compiled")
_batch_sizes: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("batch_sizes", default=())
_PACKAGES = ("keras-lnn", "keras", "tensorflow", "jax", "ncps", "numpy", "scikit-learn", "medmnist")


def prepare_backend(seed: int, deterministic: bool, precision: str) -> None:
    """Sets seeds, determinism and precision of this process, before the first layer is created."""
    keras.utils.clear_session()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


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
    if not _compiles_separately():
        return function(*arguments)
    shapes = [None if part is None else part.shape for part in keras.tree.flatten(arguments)]
    return _call_program(function, arguments, shapes, programs)


def _compiles_separately() -> bool:
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
    if not sizes or not _compiles_separately():
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


def gradients_of(function: Callable[[list[Any]], tuple[Any, Any]], values: list[Any]) -> tuple[list[Any], Any]:
    """Returns the gradient of a function with respect to each of some tensors, and what it returns beside its result.

    Args:
        function: Function from a list of tensors to a scalar and anything else that is computed on the way; a tensor
            that it does not use has a gradient of zeros.
        values: The tensors.
    """
    values = [keras.ops.convert_to_tensor(value) for value in values]
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function, has_aux=True)(values)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Gradients need TensorFlow or JAX. Received: {keras.backend.backend()}. Set KERAS_BACKEND.")
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        result, beside = function(values)
    return tape.gradient(result, values, unconnected_gradients=tf.UnconnectedGradients.ZERO), beside


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


def join_hosts(address: str, port: int, count: int, rank: int) -> None:
    """Makes this process one of several that compute together; nothing may have been computed before.

    Args:
        address: Address of host 0.
        port: A port that is free there.
        count: Number of hosts.
        rank: Number of this host, from 0.
    """
    import jax

    # JAX would keep the signal by which Slurm ends a job from ending the process; old versions have no such setting.
    if "jax_enable_preemption_service" in jax.config.values:
        jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    shown = f"[{address}]" if ":" in address else address
    # What starts processes is known already; JAX would give each process of Slurm one of the host's devices.
    jax.distributed.initialize(
        f"{shown}:{port}",
        count,
        rank,
        cluster_detection_method="deactivate",
        initialization_timeout=120,
        heartbeat_timeout_seconds=60,
        shutdown_timeout_seconds=60,
    )


def leave_hosts() -> None:
    """Ends what :func:`join_hosts` began, once all hosts call it; each still computes on its own devices."""
    import jax

    jax.distributed.shutdown()


def list_devices() -> list[str]:
    """Returns the devices of this host that a run can use: accelerators if there are any, else the processor."""
    if keras.backend.backend() == "jax":
        import jax

        return _name_devices(jax.local_devices())
    return list(keras.distribution.list_devices())


def _name_devices(devices: Sequence[Any]) -> list[str]:
    """Returns the names by which Keras knows devices of JAX."""
    return [f"{device.platform}:{device.id}" for device in devices]


def _list_shared_devices(devices: int) -> list[str]:
    """Returns the first devices of each host, by its number."""
    import jax

    found: list[str] = []
    for host in range(jax.process_count()):
        found += _name_devices([device for device in jax.devices() if device.process_index == host][:devices])
    return found


def building_on(devices: int) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which a model is built and compiled that divides its batches among the first devices.

    Each device holds a copy of every variable that is created inside.

    Args:
        devices: Number of devices of each host.
    """
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=_list_shared_devices(devices), auto_shard_dataset=False).scope()
    import tensorflow as tf

    chosen = list_devices()[:devices]
    # Other ways of adding up gradients need GPUs, and warn where there are none.
    operations = tf.distribute.ReductionToOneDevice() if chosen[0].startswith("cpu") else None
    return tf.distribute.MirroredStrategy([name.upper() for name in chosen], operations).scope()


def training_on(devices: int, hosts: int = 1) -> contextlib.AbstractContextManager[Any]:
    """Returns a context in which ``fit`` of a model from :func:`building_on` is called.

    Only several devices of JAX need it; a model of TensorFlow remembers how it was built.

    Args:
        devices: Number of devices of each host.
        hosts: Number of hosts.
    """
    uses_jax = keras.backend.backend() == "jax"
    return building_on(devices) if devices * hosts > 1 and uses_jax else contextlib.nullcontext()


@contextlib.contextmanager
def using_one_device() -> Generator[None]:
    """Makes other models compute on one device inside :func:`training_on`."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def gather_batch(shares: Any) -> Any:
    """Returns the whole batch where TensorFlow computes one device's share of it, else the tensors themselves.

    Args:
        shares: A structure of tensors with one entry per sample; None stays None.
    """
    if keras.backend.backend() != "tensorflow":
        return shares
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return shares
    return keras.tree.map_structure(
        lambda share: None if share is None else context.all_gather(tf.convert_to_tensor(share), axis=0), shares
    )


def count_shares() -> int:
    """Returns among how many devices TensorFlow divides the batch here; JAX hides the division from programs."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def is_first_share() -> bool:
    """Returns whether the first device's share of a batch is computed here, or the whole batch."""
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context is None or int(tf.get_static_value(context.replica_id_in_sync_group)) == 0


def xla_slows_convolutions() -> bool:
    """Returns whether convolutions are slower when compiled by XLA, as TensorFlow's are on a CPU.

    There TensorFlow's own kernels are optimised for the processor, those of XLA are not.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    return all(device.startswith("cpu") for device in list_devices())


def is_known(tensor: Any) -> bool:
    """Returns whether a tensor's values can be read now: not while a graph is built or a function is traced."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.is_symbolic_tensor(tensor)
    if keras.backend.backend() == "jax":
        from jax.core import Tracer

        return not isinstance(tensor, Tracer)
    return True


def scan(step: Callable[[Any, Any], tuple[Any, Any]], start: Any, inputs: Any, like: Any, reverse: bool) -> Any:
    """Returns the final carry of a loop and the result of each step; see :func:`keras_lnn.layers.scanning.scan_steps`.

    The TensorFlow version of ``keras.ops.scan`` sets no maximum number of steps, without which XLA has no gradient of a
    loop, and requires a step's result to have the structure of the carry.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.scan(step, start, inputs, reverse=reverse)
    import tensorflow as tf

    flatten, pack = keras.tree.flatten, keras.tree.pack_sequence_as
    values = [tf.convert_to_tensor(value) for value in flatten(inputs)]
    count = values[0].shape[0]
    steps = tf.shape(values[0])[0] if count is None else count
    sources = [tf.TensorArray(value.dtype, steps, element_shape=value.shape[1:]).unstack(value) for value in values]
    results = [tf.TensorArray(value.dtype, steps, element_shape=value.shape) for value in flatten(like)]

    def body(index: Any, carry: list[Any], results: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        place = steps - 1 - index if reverse else index
        carry, given = step(pack(start, carry), pack(inputs, [source.read(place) for source in sources]))
        results = [array.write(place, value) for array, value in zip(results, flatten(given), strict=True)]
        return index + 1, flatten(carry), results

    loop = (0, [tf.convert_to_tensor(value) for value in flatten(start)], results)
    _, carry, results = tf.while_loop(lambda index, *_: index < steps, body, loop, maximum_iterations=count)
    return pack(start, carry), pack(like, [array.stack() for array in results])


def scan_states(step: Callable[..., list[Any]], start: list[Any], inputs: Any, constants: Any) -> list[Any]:
    """Returns the states after each step, steps first, with a gradient that recomputes every step on the way back.

    It stores only the states, and unlike TensorFlow's own gradient of a loop it can leave a compiled program.

    Args:
        step: Function from states, this step's inputs and the constants to the next states; it reads no other weights.
        start: The initial states.
        inputs: A structure of tensors with the steps first.
        constants: A structure of tensors.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.ops.scan(lambda states, here: (step(states, here, constants),) * 2, start, inputs)[1]
    import tensorflow as tf

    flatten, pack = keras.tree.flatten, keras.tree.pack_sequence_as
    ends = len(start), len(start) + len(flatten(inputs))

    @tf.custom_gradient
    def run(*tensors: Any) -> tuple[Any, Any]:
        first, steps = list(tensors[: ends[0]]), list(tensors[ends[0] : ends[1]])
        constant = list(tensors[ends[1] :])

        def take(states: list[Any], steps: list[Any], constant: list[Any]) -> list[Any]:
            return step(states, pack(inputs, steps), pack(constants, constant))

        def step_on(states: list[Any], here: list[Any]) -> tuple[Any, Any]:
            after = take(states, here, constant)
            return after, after

        _, history = scan(step_on, first, steps, first, reverse=False)

        def step_back(carry: Any, here: Any) -> tuple[Any, Any]:
            (adjoints, sums), (upstream, *sources) = carry, here
            sources = [*sources, constant]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(sources)
                after = take(*sources)
            arrived = [adjoint + given for adjoint, given in zip(adjoints, upstream, strict=True)]
            zero = tf.UnconnectedGradients.ZERO
            state_gradients, step_gradients, constant_gradients = tape.gradient(
                after, sources, arrived, unconnected_gradients=zero
            )
            return (
                state_gradients,
                [total + given for total, given in zip(sums, constant_gradients, strict=True)],
            ), step_gradients

        def gradient(*upstream: Any) -> list[Any]:
            before = [tf.concat([state[None], states[:-1]], 0) for state, states in zip(first, history, strict=True)]
            nothing = ([tf.zeros_like(state) for state in first], [tf.zeros_like(value) for value in constant])
            here, like = (list(upstream), before, steps), [values[0] for values in steps]
            (first_gradients, constant_gradients), step_gradients = scan(step_back, nothing, here, like, reverse=True)
            return [*first_gradients, *step_gradients, *constant_gradients]

        return tuple(history), gradient

    return list(run(*start, *flatten(inputs), *flatten(constants)))


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


def builds_plain_graphs() -> bool:
    """Returns whether loops are not allowed, inside :func:`plain_graphs`."""
    return _graphs.get() == "plain"


@functools.cache
def _has_xla() -> bool:
    """Returns whether XLA is available, which TensorFlow's plugin for the GPUs of Apple lacks."""
    import tensorflow as tf

    return platform.system() != "Darwin" or not tf.config.list_physical_devices("GPU")


def describe_environment() -> dict[str, Any]:
    """Returns versions, backend and devices, to be stored with a run."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "packages": versions,
        "backend": keras.backend.backend(),
        "devices": list_devices(),
        "machine": platform.machine(),
        "system": platform.system(),
        "processors": os.cpu_count(),
    }
