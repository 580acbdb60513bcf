"""Random numbers that depend on the run's seed and the step alone."""

from typing import Any

import keras


class StepSeed(keras.random.SeedGenerator):
    """A generator of seeds for the calls within one step; Keras's own generator depends on all earlier calls instead.

    Args:
        seed: The seed of the run.
        host: Which of several hosts augments here, from 0. Each augments its own equal part of every batch, and takes
            its part of the numbers that are drawn for the whole batch.
        hosts: Number of hosts.
    """

    def __init__(self, seed: int, host: int = 0, hosts: int = 1) -> None:
        super().__init__(seed)
        self.seed = seed
        self.host = host
        self.hosts = hosts
        self.step = 0
        self.calls = 0

    def begin(self, step: Any) -> None:
        """Starts a step, to which all following numbers belong."""
        self.step = step
        self.calls = 0

    def next(self, ordered: bool = True) -> Any:
        """Returns the seed of the next call within the step."""
        import tensorflow as tf

        self.calls += 1
        seeds = tf.stack([tf.cast(self.seed, tf.int32), tf.cast(self.step, tf.int32)])
        return tf.cast(tf.random.experimental.stateless_fold_in(seeds, self.calls), tf.int32)

    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0) -> Any:
        """Returns numbers from ``low`` to below ``high``, float32; the first axis is that of the images."""
        import tensorflow as tf

        return self.take_part(tf.random.stateless_uniform(self.of_all_hosts(shape), self.next(), low, high), shape)

    def integers(self, shape: Any, low: int, high: int) -> Any:
        """Returns whole numbers from ``low`` to ``high``, both included, int32; the shape is as in ``uniform``."""
        import tensorflow as tf

        drawn = tf.random.stateless_uniform(self.of_all_hosts(shape), self.next(), low, high + 1, tf.int32)
        return self.take_part(drawn, shape)

    def of_all_hosts(self, shape: Any) -> Any:
        """Returns the shape for the whole batch from that for the part of this host."""
        import tensorflow as tf

        sizes = tf.unstack(shape) if tf.is_tensor(shape) else list(shape)
        return [sizes[0] * self.hosts, *sizes[1:]]

    def take_part(self, drawn: Any, shape: Any) -> Any:
        """Returns this host's part of what was drawn for the whole batch."""
        return drawn if self.hosts == 1 else drawn[self.host * shape[0] : (self.host + 1) * shape[0]]
