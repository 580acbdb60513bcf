"""Losses of probabilities: their formulas, extreme logits, pixels, class weights, precision, compilation and saving."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax, softmax

from keras_lnn.losses import BinaryCrossentropyDice, FocalTversky, ProbabilitySquaredError, SoftF1

tf = pytest.importorskip("tensorflow")

LOSSES = {
    "bce-dice": BinaryCrossentropyDice,
    "focal-tversky": FocalTversky,
    "soft-f1": SoftF1,
    "squared": ProbabilitySquaredError,
}
SHAPES = {"images": (7,), "pixels": (2, 5, 4), "voxels": (2, 3, 4, 5)}
WEIGHTS = [0.5, 3.0, 1.5]


def draw(shape, kind, seed=0):
    """Logits of three classes and their truth: indices for a softmax, 0/1 for sigmoids."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (*shape, 3))
    truth = generator.integers(0, 3, shape) if kind == "softmax" else generator.integers(0, 2, (*shape, 3))
    return truth, logits


def expected_of(name, truth, logits, kind, weights=None):
    """The loss by loops over the classes, from the formulas as they are printed."""
    logits = np.asarray(logits, np.float64).reshape(-1, 3)
    exclusive = kind == "softmax"
    y = np.eye(3)[truth.reshape(-1)] if exclusive else truth.reshape(-1, 3).astype(float)
    p = softmax(logits, axis=1) if exclusive else expit(logits)
    w = np.ones(3) if weights is None else np.array(weights)
    count = np.array([[w[row.argmax()]] * 3 if exclusive else [w[c] if row[c] else 1 for c in range(3)] for row in y])
    if name == "squared":
        return (count * (p - y) ** 2).mean()
    log_p = log_softmax(logits, axis=1) if exclusive else log_expit(logits)
    log_q = np.log1p(-p) if exclusive else log_expit(-logits)
    found = []
    for c in range(3):
        tp, fn, fp = (p[:, c] * y[:, c]).sum(), ((1 - p[:, c]) * y[:, c]).sum(), (p[:, c] * (1 - y[:, c])).sum()
        if name == "bce-dice":
            found.append(1 - (2 * tp + 1) / (p[:, c].sum() + y[:, c].sum() + 1))
        elif name == "soft-f1":
            found.append(1 - (2 * tp + 1e-3) / (2 * tp + fn + fp + 1e-3))
        else:
            found.append((1 - (tp + 1) / (tp + 0.7 * fn + 0.3 * fp + 1)) ** 0.75)
    overlap = np.average(found, weights=w)
    if name != "bce-dice":
        return overlap
    return 0.4 * -(count * (y * log_p + (1 - y) * log_q)).mean() + overlap


def value_and_slopes(loss, compiled=False):
    """A function that gives the loss and its gradients."""

    def compute(truth, predictions):
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = loss(truth, predictions)
        return value, tape.gradient(value, predictions)

    compute = tf.function(compute, jit_compile=True) if compiled else compute

    def run(truth, predictions):
        value, slopes = compute(tf.constant(truth), tf.constant(predictions))
        return float(value), slopes.numpy()

    return run


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("shape", ["images", "pixels", pytest.param("voxels", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_values_equal_their_formulas(name, kind, shape, weights):
    truth, logits = draw(SHAPES[shape], kind)
    expected = expected_of(name, truth, logits, kind, weights)
    assert float(LOSSES[name](kind, weights)(truth, logits)) == pytest.approx(expected, rel=1e-5)
    p = softmax(logits, axis=-1) if kind == "softmax" else expit(logits)
    assert float(LOSSES[name]("given", weights)(truth, p)) == pytest.approx(expected, rel=1e-5)
    if kind == "softmax":
        loss = LOSSES[name](kind, weights)
        for same in (np.eye(3)[truth], truth[..., None], truth.astype(np.uint8)):
            assert float(loss(same, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_gradients_equal_those_of_the_formulas(name, kind):
    truth, logits = draw((4,), kind)
    _, slopes = value_and_slopes(LOSSES[name](kind, WEIGHTS, dtype="float64"))(truth, logits)
    for place in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-5
        sides = [expected_of(name, truth, logits + sign * step, kind, WEIGHTS) for sign in (1, -1)]
        assert slopes[place] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_further_arguments_act_as_documented():
    y, p = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.3, 0.2])
    given = np.stack([1 - p, p], axis=1)
    tp, fn, fp = (p * y).sum(), ((1 - p) * y).sum(), (p * (1 - y)).sum()
    only = {"class_weights": [0, 1]}  # of the second class alone
    loss = FocalTversky("given", **only, alpha=0.2, beta=0.9, gamma=0.5, smoothing=3.0)
    assert float(loss(y, given)) == pytest.approx((1 - (tp + 3) / (tp + 0.2 * fn + 0.9 * fp + 3)) ** 2, rel=1e-5)
    loss = SoftF1("given", **only, smoothing=2.0)
    assert float(loss(y, given)) == pytest.approx(1 - (2 * tp + 2) / (2 * tp + fn + fp + 2), rel=1e-5)
    loss = BinaryCrossentropyDice("given", **only, crossentropy_weight=2.0, dice_weight=0.0)
    assert float(loss(y, given)) == pytest.approx(2 * -np.log(p[:2]).sum() / 4, rel=1e-5)
    loss = BinaryCrossentropyDice("given", **only, crossentropy_weight=0.0, dice_weight=3.0, smoothing=0.5)
    assert float(loss(y, given)) == pytest.approx(3 * (1 - (2 * tp + 0.5) / (2 * tp + fn + fp + 0.5)), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_one_output_is_a_binary_task(name):
    generator = np.random.default_rng(2)
    truth, logits = generator.integers(0, 2, (3, 4)), generator.normal(size=(3, 4, 1)).astype(np.float32)
    loss = LOSSES[name]("sigmoid")
    assert float(loss(truth, logits)) == float(loss(truth[..., None], logits))
    if name == "squared":
        assert float(loss(truth, logits)) == pytest.approx(((expit(logits[..., 0]) - truth) ** 2).mean(), rel=1e-5)
    # Of two classes the cross-entropy and the squares of both columns are the same.
    if name in ("squared", "bce-dice"):
        options = {} if name == "squared" else {"dice_weight": 0.0}
        both = np.concatenate([np.zeros_like(logits), logits], axis=-1)
        alone = LOSSES[name]("sigmoid", **options)(truth, logits)
        assert float(LOSSES[name]("softmax", **options)(truth, both)) == pytest.approx(float(alone), rel=1e-5)


EXTREMES = np.array([[1e4, -1e4, 0], [-1e4, 1e4, -1e4], [1e4, 1e4, 1e4], [-60, 60, 0.1], [0, 0, 0], [60, 17, -1e4]])


@pytest.mark.parametrize(
    ("kind", "dtype", "compiled"),
    [
        *((kind, "float16", False) for kind in ("softmax", "sigmoid", "given")),
        ("sigmoid", "float16", True),
        *(pytest.param(kind, "float16", True, marks=pytest.mark.slow) for kind in ("softmax", "given")),
        *(
            pytest.param(kind, dtype, False, marks=pytest.mark.slow)
            for kind in ("softmax", "sigmoid", "given")
            for dtype in ("bfloat16", "float32")
        ),
    ],
)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_finite_at_extreme_logits(name, kind, dtype, compiled):
    predictions = tf.cast(np.clip(EXTREMES, 0, 1) if kind == "given" else EXTREMES, dtype)
    run = value_and_slopes(LOSSES[name](kind), compiled)
    for truth in (np.zeros((6, 3)), np.ones((6, 3)), np.eye(3)[[0] * 6], np.eye(3)[[0, 1, 2, 1, 0, 0]]):
        for first in (predictions, tf.tile(predictions[:2], (3, 1))):  # those two are certain, and right or wrong
            value, slopes = run(truth, first)
            assert np.isfinite(value)
            assert np.isfinite(slopes.astype(np.float32)).all()


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("name", LOSSES)
def test_perfect_predictions_have_zero_loss_and_wrong_ones_the_largest(name, kind):
    truth = np.array([0, 1, 2, 1] * 5)
    right = np.where(np.eye(3)[truth] > 0, 1e4, -1e4)
    targets = truth if kind == "softmax" else np.eye(3)[truth]
    loss = LOSSES[name](kind)
    value, slopes = value_and_slopes(loss)(targets, right)
    assert value == 0.0
    assert not slopes.any()
    assert float(loss(targets, -right)) >= 0.5


def test_crossentropy_is_exact_where_a_softmax_saturates():
    # 1 - p of the first is e^-100, which no float32 near 1 can hold.
    loss = BinaryCrossentropyDice("softmax", dice_weight=0.0, crossentropy_weight=1.0)
    value, slopes = value_and_slopes(loss)(np.array([[0.0, 1.0]]), np.array([[100.0, 0.0]], np.float32))
    assert value == pytest.approx(100.0)
    np.testing.assert_allclose(slopes, [[1.0, -1.0]], rtol=1e-5)


def test_sums_of_many_pixels_do_not_overflow_half_precision():
    truth = np.zeros((2, 300, 300), np.uint8)
    truth[:, :150] = 1
    logits = tf.cast(np.stack([np.zeros(truth.shape), 20.0 * truth - 10], axis=-1), "float16")
    assert float(SoftF1()(truth, logits)) == pytest.approx(expit(-10), rel=1e-2)


@pytest.mark.parametrize("kind", ["softmax", pytest.param("sigmoid", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_equal_under_xla(name, kind):
    truth, logits = draw((3, 4), kind)
    pairs = zip(
        *(value_and_slopes(LOSSES[name](kind, WEIGHTS), c)(truth, logits.astype("float32")) for c in (False, True)),
        strict=True,
    )
    for eager, compiled in pairs:
        np.testing.assert_allclose(compiled, eager, rtol=1e-5, atol=1e-7)


def make_model(loss, policy="float32", **options):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.Dense(8, "relu", dtype=policy), keras.layers.Dense(3, dtype=policy)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.02), loss=loss, **options)
    return model


def draw_task(count=60):
    generator = np.random.default_rng(1)
    truth = np.arange(count) % 3
    return (generator.normal(size=(count, 6)) + 2 * np.eye(3, 6)[truth]).astype(np.float32), truth


@pytest.mark.parametrize(
    ("name", "policy", "options"),
    [
        ("bce-dice", "mixed_float16", {"run_eagerly": True}),
        *(pytest.param(name, "mixed_float16", {"jit_compile": False}, marks=pytest.mark.slow) for name in LOSSES),
        pytest.param("bce-dice", "mixed_bfloat16", {"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
def test_a_model_with_each_loss_is_trained_saved_and_loaded(name, policy, options, tmp_path):
    images, truth = draw_task()
    model = make_model(LOSSES[name]("softmax", WEIGHTS), policy, **options)
    before = model.evaluate(images, truth, batch_size=60, verbose=0)
    losses = model.fit(images, truth, epochs=8, batch_size=20, verbose=0).history["loss"]
    after = model.evaluate(images, truth, batch_size=60, verbose=0)
    assert after < 0.75 * before
    assert np.isfinite(losses).all()
    assert (model.predict(images, verbose=0).argmax(axis=1) == truth).mean() > 0.75
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(again.loss) is LOSSES[name]
    assert again.loss.get_config() == model.loss.get_config()
    assert again.evaluate(images, truth, batch_size=60, verbose=0) == pytest.approx(after, rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        BinaryCrossentropyDice("sigmoid", [1, 2], crossentropy_weight=0.3, dice_weight=0.2, smoothing=0.1),
        FocalTversky("given", (2, 1), alpha=0.6, beta=0.5, gamma=2.0, smoothing=0.2),
        SoftF1("sigmoid", np.array([1, 5]), smoothing=0.3),
        ProbabilitySquaredError("given", [1, 2], name="mine", reduction="sum"),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_every_argument_is_serialized(loss):
    config = json.loads(json.dumps(loss.get_config()))
    default = type(loss)().get_config()
    batch_wide = type(loss) is not ProbabilitySquaredError
    assert [name for name in config if config[name] == default[name]] == (["name", "reduction"] if batch_wide else [])
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert again.get_config() == loss.get_config()


# One is computed over a whole batch, the other over each sample.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("soft-f1", "squared") else pytest.mark.slow) for name in LOSSES],
)
def test_a_last_smaller_batch_counts_by_its_size_in_the_mean_over_an_epoch(name):
    images, truth = draw_task(50)
    loss = LOSSES[name]()
    model = make_model(loss, run_eagerly=True)
    logits = model.predict(images, verbose=0)
    batches = [slice(0, 20), slice(20, 40), slice(40, 50)]
    values = [float(loss(truth[batch], logits[batch])) for batch in batches]
    expected = np.average(values, weights=[20, 20, 10])
    assert model.evaluate(images, truth, batch_size=20, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_squared_losses_use_sample_weights_as_keras_does():
    truth, logits = draw((9,), "softmax")
    weights = np.array(WEIGHTS)[truth]
    plain = keras.losses.MeanSquaredError()
    expected = float(plain(np.eye(3)[truth], softmax(logits, axis=1), sample_weight=weights))
    assert float(ProbabilitySquaredError("softmax", WEIGHTS)(truth, logits)) == pytest.approx(expected, rel=1e-5)
    unweighted = ProbabilitySquaredError()
    assert float(unweighted(truth, logits, sample_weight=weights)) == pytest.approx(expected, rel=1e-5)
    each = ProbabilitySquaredError(reduction="none")(truth, logits)
    np.testing.assert_allclose(each, ((softmax(logits, axis=1) - np.eye(3)[truth]) ** 2).mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean", "none"])
@pytest.mark.parametrize("name", ["bce-dice", "focal-tversky", "soft-f1"])
def test_losses_of_a_whole_batch_ignore_the_reduction(name, reduction):
    truth, logits = draw((9,), "softmax")
    value = LOSSES[name](reduction=reduction)(truth, logits)
    assert value.shape == ()
    assert float(value) == float(LOSSES[name]()(truth, logits))


@pytest.mark.parametrize("weights", [{"class_weight": {0: 1.0, 1: 2.0, 2: 1.0}}, {"sample_weight": np.ones(60)}])
def test_sample_weights_are_refused_by_losses_of_a_whole_batch(weights):
    images, truth = draw_task()
    with pytest.raises(
        ValueError, match=r"FocalTversky is computed over a whole batch.*Received: sample_weight\. Give"
    ):
        make_model(FocalTversky(), run_eagerly=True).fit(images, truth, verbose=0, **weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftF1("logits"), r"one of softmax, sigmoid, given\. Received: 'logits'"),
        (lambda: SoftF1(class_weights=[1, -1]), "finite and at least 0"),
        (lambda: SoftF1(class_weights=[0, 0]), "one must be above 0"),
        (lambda: SoftF1(class_weights=[1, np.inf]), "must be finite"),
        (lambda: SoftF1(smoothing=0), r"smoothing must be finite and more than 0\. Received: 0"),
        (lambda: BinaryCrossentropyDice(dice_weight=-1), "dice_weight must be"),
        (lambda: BinaryCrossentropyDice(crossentropy_weight=np.nan), "crossentropy_weight must be"),
        (lambda: FocalTversky(alpha=-0.1), "alpha must be"),
        (lambda: FocalTversky(beta=np.inf), "beta must be"),
        (lambda: FocalTversky(gamma=0), "gamma must be"),
        (lambda: SoftF1(class_weights=[1, 1])([0, 1], np.zeros((2, 3))), "one weight per class or label, 3 in all"),
        (lambda: SoftF1()([0, 1], np.zeros((2, 1))), "A softmax needs at least two classes"),
        (lambda: SoftF1()([0, 1], np.zeros(2)), "must be .batch, .*classes.*shape .2,."),
        (lambda: SoftF1()(np.zeros((2, 2)), np.zeros((2, 3))), r"Received: \(2, 2\) for predictions \(2, 3\)"),
        (lambda: SoftF1()(np.zeros((2, 1, 4)), np.zeros((2, 4, 4, 3))), "or 0/1 of the predictions' shape"),
        (lambda: SoftF1()(np.zeros(2), np.zeros((2, 4, 4, 3))), "or 0/1 of the predictions' shape"),
    ],
)
def test_invalid_arguments_are_reported(make, message):
    with pytest.raises(ValueError, match=message):
        make()


ON_JAX = """
import json, sys
import jax, keras, numpy
import keras_lnn.losses as losses
found = {}
truth, logits = (numpy.array(part) for part in json.loads(sys.stdin.read()))
for name in ("BinaryCrossentropyDice", "FocalTversky", "SoftF1", "ProbabilitySquaredError"):
    loss = getattr(losses, name)("softmax", [0.5, 3.0, 1.5])
    value, slopes = jax.jit(jax.value_and_grad(lambda x: loss(truth, x)))(logits.astype("float32"))
    found[name] = [float(value), slopes.tolist()]
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_losses_are_equal_on_jax():
    truth, logits = draw((5, 3), "softmax")
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        input=json.dumps([truth.tolist(), logits.tolist()]),
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for loss in LOSSES.values():
        value, slopes = value_and_slopes(loss("softmax", WEIGHTS))(truth, logits.astype(np.float32))
        found = json.loads(done.stdout)[loss.__name__]
        assert found[0] == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(found[1], slopes, rtol=1e-4, atol=1e-7)
