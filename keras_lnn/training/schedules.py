"""Learning-rate schedules as functions of the optimizer's step alone, so that resuming is exact."""

from typing import Any

import keras

WARMUP_FRACTION = 0.1
# Fractions of the run after which ``steps`` divides the rate by ten.
STEPS_AT = (0.5, 0.75)


def make_schedule(name: str, learning_rate: float, total_steps: int, restart_steps: int | None = None) -> Any:
    """Returns a learning rate or a schedule for a Keras optimizer.

    Args:
        name: ``constant``; ``cosine`` falls to zero along half a cosine; ``cosine-restarts`` does so again and again
            (Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, with periods of equal
            length); ``warmup-cosine`` first rises over a tenth of the steps; ``exponential`` falls evenly on a
            logarithmic scale to a hundredth; ``steps`` falls to a tenth at half and again at three quarters.
        learning_rate: Rate at the start, or at the peak after the warm-up.
        total_steps: Number of steps of the whole run.
        restart_steps: Number of steps between restarts of ``cosine-restarts``; no restart if not given.
    """
    if name == "constant":
        return learning_rate
    if name == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(learning_rate, max(total_steps, 1), decay_rate=0.01)
    if name == "steps":
        # Keras holds a rate up to its boundary's own step.
        boundaries = [round(fraction * total_steps) - 1 for fraction in STEPS_AT]
        rates = [learning_rate * 0.1**fallen for fallen in range(len(boundaries) + 1)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    if name == "cosine-restarts":
        period = restart_steps or max(total_steps, 1)
        return keras.optimizers.schedules.CosineDecayRestarts(learning_rate, period, t_mul=1.0, m_mul=1.0)
    warmup = max(1, round(WARMUP_FRACTION * total_steps)) if name == "warmup-cosine" else 0
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else learning_rate,
        decay_steps=max(total_steps - warmup, 1),
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
