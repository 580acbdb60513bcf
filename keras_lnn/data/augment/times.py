"""Operations on the frames of series and their times; the last frame always stays, since the label may be of it.

Each operation takes and returns :class:`Frames`. Frames that stay move to the front, before the padding of
their series, and times count from the first frame that stays.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_lnn.data.augment.step_seed import StepSeed

_FEWEST_KEPT = 0.5
_JITTER = 0.1
_SLOWEST_RATE = 3


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames that stay.

    Args:
        places: The step in the original series of each frame, int32 (batch, steps).
        times: Their times since the first one, float32 (batch, steps), NaN where there is no frame.
    """

    places: Any
    times: Any

    @property
    def lengths(self) -> Any:
        """Returns the number of frames of each series, int32 (batch, 1)."""
        import tensorflow as tf

        return tf.reduce_sum(tf.cast(self.is_frame, tf.int32), axis=1, keepdims=True)

    @property
    def is_frame(self) -> Any:
        """Returns whether there is a frame at each step, (batch, steps)."""
        import tensorflow as tf

        return tf.logical_not(tf.math.is_nan(self.times))

    @property
    def steps(self) -> Any:
        """Returns the numbers of the steps, int32 (1, steps)."""
        import tensorflow as tf

        return tf.range(tf.shape(self.times)[1])[None]

    def keep(self, kept: Any) -> "Frames":
        """Returns the frames that are kept, in their order; each series must keep at least one."""
        import tensorflow as tf

        kept = tf.logical_and(kept, self.is_frame)
        count = tf.reduce_sum(tf.cast(kept, tf.int32), axis=1, keepdims=True)
        order = tf.argsort(tf.where(kept, self.steps, self.steps + tf.shape(self.times)[1]), axis=1)
        # After the last frame it is repeated, as in a series that is read.
        order = tf.gather(order, tf.minimum(self.steps, count - 1), batch_dims=1)
        places, times = (tf.gather(part, order, batch_dims=1) for part in (self.places, self.times))
        return Frames(places, tf.where(self.steps < count, times - times[:, :1], float("nan")))


Operation = Callable[["StepSeed", Frames], Frames]


def time_stage(names: Sequence[str]) -> Callable[[Any, Any, "StepSeed"], tuple[Any, Any]]:
    """Returns a function of series, times and a :class:`StepSeed` that applies operations of this module in order.

    Args:
        names: Names of the operations, first to last.

    Returns:
        A function from series (batch, steps, height, width, channels), float32, and the times of their frames, float32
        (batch, steps), NaN where there is no frame, to both.
    """
    operations = [TIME_OPERATIONS[name] for name in names]

    def apply(images: Any, times: Any, draw: "StepSeed") -> tuple[Any, Any]:
        import tensorflow as tf

        frames = Frames(tf.zeros_like(times, tf.int32) + tf.range(tf.shape(times)[1])[None], times)
        for operation in operations:
            frames = operation(draw, frames)
        return tf.gather(images, frames.places, batch_dims=1), frames.times

    return apply


def _drop_frames(draw: "StepSeed", frames: Frames) -> Frames:
    """Keeps each frame but the last with a chance that is drawn for each series; at least two frames are kept."""
    import tensorflow as tf

    shape = tf.shape(frames.times)
    chance = draw.uniform((shape[0], 1), _FEWEST_KEPT, 1.0)
    is_last = frames.steps == frames.lengths - 1
    ranks = tf.where(tf.logical_and(frames.is_frame, tf.logical_not(is_last)), draw.uniform(shape), 2.0)
    # The frame that is likeliest to be kept is kept with any chance.
    is_first_choice = ranks == tf.reduce_min(ranks, axis=1, keepdims=True)
    return frames.keep(is_last | is_first_choice | (ranks < chance))


def _start_later(draw: "StepSeed", frames: Frames) -> Frames:
    """Begins each series at one of its first frames, up to its middle; at least two frames are kept."""
    import tensorflow as tf

    latest = tf.maximum(tf.minimum(frames.lengths // 2, frames.lengths - 2), 0)
    share = draw.uniform((tf.shape(frames.times)[0], 1))
    return frames.keep(frames.steps >= tf.cast(share * tf.cast(latest + 1, tf.float32), tf.int32))


def _frame_rate(draw: "StepSeed", frames: Frames) -> Frames:
    """Keeps all frames of a series, every second or every third one; at least two frames are kept."""
    import tensorflow as tf

    rate = draw.integers((tf.shape(frames.times)[0], 1), 1, _SLOWEST_RATE)
    rate = tf.maximum(tf.minimum(rate, frames.lengths - 1), 1)
    return frames.keep(tf.math.floormod(frames.lengths - 1 - frames.steps, rate) == 0)


def _jitter_times(draw: "StepSeed", frames: Frames) -> Frames:
    """Moves the time of each frame by up to a tenth of the median interval of its series; the order stays."""
    import tensorflow as tf

    times, infinite = frames.times, float("inf")
    gaps = times[:, 1:] - times[:, :-1]
    gaps = tf.where(tf.math.is_nan(gaps), infinite, gaps)
    middle = tf.maximum(frames.lengths - 2, 0) // 2
    median = tf.gather(tf.pad(tf.sort(gaps, axis=1), [[0, 0], [0, 1]]), middle, batch_dims=1)
    before, after = (tf.pad(gaps, [[0, 0], side], constant_values=infinite) for side in ([1, 0], [0, 1]))
    # Two neighbours that move towards one another still do not meet.
    most = tf.minimum(_JITTER * median, 0.4 * tf.minimum(before, after))
    moved = times + tf.where(tf.math.is_finite(most), most, 0.0) * draw.uniform(tf.shape(times), -1.0, 1.0)
    return Frames(frames.places, moved - moved[:, :1])


TIME_OPERATIONS: dict[str, Operation] = {
    "drop-frames": _drop_frames,
    "jitter-times": _jitter_times,
    "start-later": _start_later,
    "frame-rate": _frame_rate,
}
