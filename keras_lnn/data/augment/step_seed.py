"""Random numbers that depend on the run's seed and the step alone."""

from collections.abc import Sequence
from typing import Any

import keras


class StepSeed(keras.random.SeedGenerator):
    """A generator of seeds for the calls within one step; Keras's own generator depends on all earlier calls instead.

    Args:
        seed: The seed of the run.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed = seed
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

    def uniform(self, shape: Sequence[Any], low: float = 0.0, high: float = 1.0) -> Any:
        """Returns numbers from ``low`` to below ``high``, float32."""
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self.next(), low, high)

    def integers(self, shape: Sequence[Any], low: int, high: int) -> Any:
        """Returns whole numbers from ``low`` to ``high``, both included, int32."""
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self.next(), low, high + 1, tf.int32)
