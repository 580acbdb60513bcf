"""Random numbers that follow from the run's seed and the step alone."""

from collections.abc import Sequence
from typing import Any

import keras


class StepSeed(keras.random.SeedGenerator):
    """Seeds for the calls within one step; Keras's own generator remembers all of its calls instead.

    Args:
        seed: The run's.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed = seed
        self.step = 0
        self.calls = 0

    def begin(self, step: Any) -> None:
        """What is drawn from now on belongs to this step."""
        self.step = step
        self.calls = 0

    def next(self, ordered: bool = True) -> Any:
        """The seed of the next call within the step."""
        import tensorflow as tf

        self.calls += 1
        seeds = tf.stack([tf.cast(self.seed, tf.int32), tf.cast(self.step, tf.int32)])
        return tf.cast(tf.random.experimental.stateless_fold_in(seeds, self.calls), tf.int32)

    def uniform(self, shape: Sequence[Any], low: float = 0.0, high: float = 1.0) -> Any:
        """Numbers from ``low`` to below ``high``, float32."""
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self.next(), low, high)

    def integers(self, shape: Sequence[Any], low: int, high: int) -> Any:
        """Whole numbers from ``low`` to ``high``, both included, int32."""
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, self.next(), low, high + 1, tf.int32)
