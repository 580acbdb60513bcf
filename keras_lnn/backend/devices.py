"""Devices and hosts that compute together, and what each has of a batch."""

import contextlib
from collections.abc import Generator, Sequence
from typing import Any

import keras


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
    # Only host 0 keeps programs; hosts that compile wait for what a host that finds its program never sends.
    jax.config.update("jax_enable_compilation_cache", False)
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
    return keras.backend.backend() == "tensorflow" and not has_accelerator()


def has_accelerator() -> bool:
    """Returns whether this host computes on anything but its processor."""
    return not all(device.startswith("cpu") for device in list_devices())
