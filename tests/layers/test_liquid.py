"""LTC and CfC beyond ncps.keras: irregular sampling, masks, precision, states, saving, training."""

import functools

import keras
import numpy as np
import pytest
from keras import ops
from liquid_cases import BATCH, FEATURES, STEPS, draw_inputs, gradients, gradients_of_time, randomise
from ncps.wirings import NCP, AutoNCP, FullyConnected

from keras_lnn.layers import LTC, CfC, CfCCell, LTCCell, MixedMemoryCell, WiredCfCCell
from keras_lnn.layers.wiring import build_wiring

KINDS = {
    # Each unfold is compiled, and two suffice to distinguish one from several; the parity tests use the default.
    "ltc": lambda **arguments: LTC(AutoNCP(12, 2), **{"ode_unfolds": 2} | arguments),
    "ltc-memory": lambda **arguments: LTC(AutoNCP(12, 2), mixed_memory=True, **{"ode_unfolds": 2} | arguments),
    "cfc": lambda **arguments: CfC(AutoNCP(12, 2), **arguments),
    "cfc-pure": lambda **arguments: CfC(AutoNCP(12, 2), mode="pure", **arguments),
    "cfc-dense": lambda **arguments: CfC(5, backbone_units=7, **arguments),
    "cfc-memory": lambda **arguments: CfC(5, backbone_units=7, mixed_memory=True, **arguments),
}
# The memory stands around any cell, also around that of cfc-dense, and each mode of a cell is tested step by step:
# elsewhere these are slow tests.
LIKE_OTHERS = ("ltc-memory", "cfc-pure", "cfc-dense")
fewer_kinds = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in LIKE_OTHERS else kind for kind in KINDS]
)
# Where compiling takes most of the time: an own solver, a loop that is taken again, and one around the other.
few_kinds = pytest.mark.parametrize("kind", ["ltc", "cfc-dense", pytest.param("ltc-memory", marks=pytest.mark.slow)])
only_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is TensorFlow's")


@functools.cache
def make(kind, **arguments):
    """A built layer with random weights, which tests share and leave as it is."""
    layer = KINDS[kind](**arguments)
    layer.build((BATCH, STEPS, FEATURES))
    randomise(layer)
    return layer


def draw_times(seed=2, steps=STEPS):
    return np.random.default_rng(seed).uniform(0.2, 3.0, (BATCH, steps)).astype("float32")


def numpy_of(tensor):
    return ops.convert_to_numpy(tensor)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def reference_ltc(layer, inputs, times, unfolds=None):
    """The paper's fused solver step by step, dense and in double precision."""
    cell = layer.cell
    unfolds = unfolds or cell.ode_unfolds
    value = {weight.name: numpy_of(weight).astype(float) for weight in cell.weights}
    inner = np.abs(cell.built_wiring.adjacency_matrix)
    sensory = np.abs(cell.built_wiring.sensory_adjacency_matrix)
    potential = np.zeros((len(inputs), cell.state_size))
    outputs = []
    for step in range(inputs.shape[1]):
        given = inputs[:, step] * value["input_w"] + value["input_b"]
        opened = (
            sigmoid(value["sensory_sigma"] * (given[:, :, None] - value["sensory_mu"])) * value["sensory_w"] * sensory
        )
        from_inputs = (opened * value["sensory_erev"]).sum(1), opened.sum(1)
        rate = value["cm"] / (times[:, step, None] / unfolds)
        for _ in range(unfolds):
            opened = sigmoid(value["sigma"] * (potential[:, :, None] - value["mu"])) * value["w"] * inner
            driving = (
                rate * potential + value["gleak"] * value["vleak"] + (opened * value["erev"]).sum(1) + from_inputs[0]
            )
            potential = driving / (rate + value["gleak"] + opened.sum(1) + from_inputs[1] + cell.epsilon)
        outputs.append(potential[:, : cell.output_size] * value["output_w"] + value["output_b"])
    return np.stack(outputs, axis=1)


def reference_dense_cfc(layer, inputs, times):
    """The paper's closed form step by step, every product on its own."""
    cell = layer.cell
    value = {weight.path.split("cell")[-1].split("/", 1)[1]: numpy_of(weight).astype(float) for weight in cell.weights}
    named = {path if "time" in path or "backbone" in path else path.split("/")[-1]: v for path, v in value.items()}
    kernel, bias = (
        next(v for path, v in named.items() if "backbone" in path and kind in path) for kind in ("kernel", "bias")
    )
    state, outputs = np.zeros((len(inputs), cell.units)), []
    for step in range(inputs.shape[1]):
        hidden = 1.7159 * np.tanh(0.666 * (np.concatenate([inputs[:, step], state], axis=1) @ kernel + bias))
        first, second = (np.tanh(hidden @ named[f"{name}_weight"] + named[f"{name}_bias"]) for name in ("ff1", "ff2"))
        time_a, time_b = (hidden @ named[f"{name}/kernel"] + named[f"{name}/bias"] for name in ("time_a", "time_b"))
        gate = sigmoid(time_a * times[:, step, None] + time_b)
        state = first * (1 - gate) + gate * second
        outputs.append(state)
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize(("kind", "reference"), [("ltc", reference_ltc), ("cfc-dense", reference_dense_cfc)])
@pytest.mark.parametrize("is_column", [False, True])
def test_irregular_sampling_equals_the_cell_step_by_step(kind, reference, is_column):
    layer, inputs, times = make(kind, return_sequences=True), draw_inputs(), draw_times()
    outputs = layer((inputs, times[..., None] if is_column else times))
    np.testing.assert_allclose(numpy_of(outputs), reference(layer, inputs, times), atol=2e-6)


@fewer_kinds
def test_an_elapsed_time_of_one_equals_regular_sampling(kind):
    layer, inputs = make(kind, return_sequences=True), draw_inputs()
    irregular = layer((inputs, np.ones((BATCH, STEPS), "float32")))
    np.testing.assert_allclose(numpy_of(irregular), numpy_of(layer(inputs)), atol=2e-6)


@fewer_kinds
def test_the_elapsed_time_counts_step_by_step_and_sample_by_sample(kind):
    layer, inputs, times = make(kind, return_sequences=True), draw_inputs(), draw_times()
    outputs = numpy_of(layer((inputs, times)))
    for sample in range(BATCH):
        alone = numpy_of(layer((inputs[sample : sample + 1], times[sample : sample + 1])))
        np.testing.assert_allclose(alone[0], outputs[sample], atol=2e-6)
    other = times.copy()
    other[1, 3] += 1.0
    changed = np.abs(numpy_of(layer((inputs, other))) - outputs).max(axis=-1) > 1e-7
    assert not changed[0].any()
    assert not changed[1, :3].any()
    assert changed[1, 3]


def test_a_step_of_an_ltc_can_be_split_in_two():
    whole = make("ltc", ode_unfolds=6, return_sequences=True)
    halves = KINDS["ltc"](ode_unfolds=3, return_sequences=True)
    halves.build((BATCH, STEPS, FEATURES))
    halves.set_weights(whole.get_weights())
    inputs, times = draw_inputs(), draw_times()
    twice = halves((np.repeat(inputs, 2, axis=1), np.repeat(times / 2, 2, axis=1)))
    np.testing.assert_allclose(numpy_of(whole((inputs, times))), numpy_of(twice)[:, 1::2], atol=2e-6)


@fewer_kinds
def test_a_sequence_can_be_split_in_two(kind):
    layer = make(kind, return_sequences=True, return_state=True)
    inputs, times = draw_inputs(), draw_times()
    outputs, *states = layer((inputs, times))
    first, *middle = layer((inputs[:, :2], times[:, :2]))
    second, *last = layer((inputs[:, 2:], times[:, 2:]), initial_state=middle)
    np.testing.assert_allclose(np.concatenate([numpy_of(first), numpy_of(second)], 1), numpy_of(outputs), atol=2e-6)
    for state, other in zip(states, last, strict=True):
        np.testing.assert_allclose(numpy_of(state), numpy_of(other), atol=2e-6)


def test_a_step_without_elapsed_time_keeps_the_state():
    layer = make("ltc", return_state=True)
    start = np.random.default_rng(0).normal(size=(BATCH, 12)).astype("float32")
    _, state = layer((draw_inputs(), np.zeros((BATCH, STEPS), "float32")), initial_state=[start])
    np.testing.assert_allclose(numpy_of(state), start, atol=1e-6)


@pytest.mark.parametrize("run_eagerly", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_no_zero_division_without_time_and_capacitance(run_eagerly):
    layer = KINDS["ltc"](return_sequences=True)
    series, times = keras.Input((STEPS, FEATURES)), keras.Input((STEPS,))
    model = keras.Model([series, times], layer((series, times)))
    layer.cell.cm.assign(np.zeros(layer.cell.cm.shape))
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    batch = [draw_inputs(), np.zeros((BATCH, STEPS), "float32")]
    assert np.isfinite(model.predict_on_batch(batch)).all()
    model.train_on_batch(batch, np.ones((BATCH, STEPS, 2), "float32"))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@only_tensorflow
@pytest.mark.parametrize("kind", ["ltc", "cfc", pytest.param("cfc-pure", marks=pytest.mark.slow)])
def test_gradients_of_times_masks_and_states_are_finite_differences(kind):
    """The gradients written by hand against differences in double precision, on a scale that 1e-6 resolves."""
    layer = KINDS[kind](return_sequences=True, dtype="float64")
    layer.build((BATCH, STEPS, FEATURES))
    randomise(layer)
    generator = np.random.default_rng(3)
    mask = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
    weights = generator.normal(size=(BATCH, STEPS, 2))
    parts = [draw_inputs().astype(float), draw_times().astype(float), generator.normal(size=(BATCH, 12)) * 0.3]
    joined = np.concatenate([part.reshape(-1) for part in parts])
    sizes = np.cumsum([part.size for part in parts])[:-1]

    def losses(rows):
        """The loss of each row of values, in one call: the samples of all rows are one batch."""
        count = len(rows)
        inputs, times, state = (
            ops.reshape(part, (count * BATCH, *like.shape[1:]))
            for part, like in zip(ops.split(rows, sizes.tolist(), axis=1), parts, strict=True)
        )
        outputs = layer((inputs, times), initial_state=[state], mask=np.tile(mask, (count, 1)))
        return ops.sum(ops.reshape(outputs, (count, *weights.shape)) * weights, axis=(1, 2, 3))

    class Whole(keras.layers.Layer):
        def call(self, flat):
            return losses(flat[None])

    found, *_ = gradients(Whole(dtype="float64"), joined, function=lambda outputs: ops.sum(outputs))
    places = [
        first + generator.choice(part.size, 3, replace=False) for first, part in zip([0, *sizes], parts, strict=True)
    ]
    places = np.concatenate(places)
    steps = 1e-6 * np.eye(joined.size)[places]
    after, before = np.split(numpy_of(losses(np.concatenate([joined + steps, joined - steps]))), 2)
    for place, difference in zip(places, (after - before) / 2e-6, strict=True):
        assert abs(found[place] - difference) < 1e-6 * max(1.0, abs(difference)), place


def test_a_single_step_has_a_gradient_for_its_time():
    layer = LTC(5)
    inputs, times = draw_inputs(steps=1)[:1], np.array([[0.7]], "float32")
    layer.build((None, *inputs.shape[1:]))

    def of_time(values):
        return layer((inputs, values))

    found = gradients_of_time(of_time, times)
    change = 1e-2
    difference = [float(ops.sum(of_time(times + sign * change))) for sign in (1, -1)]
    expected = (difference[0] - difference[1]) / (2 * change)
    assert abs(expected) > 1e-4
    assert float(np.sum(found)) == pytest.approx(expected, rel=2e-2)


@only_tensorflow
def test_the_solver_converges_at_its_order():
    """The fused Euler step is of first order: twice the unfolds, half the error."""
    inputs, times = draw_inputs()[:, :2], draw_times()[:, :2]
    layers = [
        LTC(AutoNCP(12, 2), return_sequences=True, ode_unfolds=unfolds, dtype="float64") for unfolds in (10, 20, 40)
    ]
    for layer in layers:
        layer.build((BATCH, STEPS, FEATURES))
        randomise(layer)
    fine = reference_ltc(layers[0], inputs, times, unfolds=2000)
    errors = [np.abs(numpy_of(layer((inputs, times))) - fine).max() for layer in layers]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(orders - 1.0) < 0.15), orders


@pytest.mark.parametrize(
    ("kind", "unroll"),
    [
        *((kind, False) for kind in KINDS if kind not in LIKE_OTHERS),
        ("ltc", True),
        *(pytest.param(kind, False, marks=pytest.mark.slow) for kind in LIKE_OTHERS),
        *(pytest.param(kind, True, marks=pytest.mark.slow) for kind in KINDS if kind != "ltc"),
    ],
)
def test_masked_steps_are_skipped(kind, unroll):
    layer, inputs, times = make(kind, unroll=unroll), draw_inputs(), draw_times()
    mask = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    masked = np.where(mask[..., None], inputs, np.nan)
    outputs = numpy_of(layer((masked, times), mask=mask))
    for sample in range(BATCH):
        kept = mask[sample]
        alone = numpy_of(layer((inputs[sample : sample + 1, kept], times[sample : sample + 1, kept])))
        np.testing.assert_allclose(outputs[sample], alone[0], atol=2e-6)


# On JAX the loop of Keras takes the first state for the output of the step before.
@only_tensorflow
@pytest.mark.parametrize(
    ("kind", "zero_output_for_mask", "go_backwards"),
    [
        *((kind, True, True) for kind in KINDS if kind not in LIKE_OTHERS),
        ("ltc", False, False),
        *(
            pytest.param(kind, *case, marks=pytest.mark.slow)
            for kind in KINDS
            for case in ((True, True), (False, False), (False, True), (True, False))
            if (kind in LIKE_OTHERS or case != (True, True)) and (kind, *case) != ("ltc", False, False)
        ),
    ],
)
def test_masks_act_as_in_keras(kind, zero_output_for_mask, go_backwards):
    options = {"zero_output_for_mask": zero_output_for_mask, "go_backwards": go_backwards, "return_sequences": True}
    layer, inputs = make(kind, **options), draw_inputs()
    plain = keras.layers.RNN(layer.cell, **options)
    mask = np.array([[1, 1, 0, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    np.testing.assert_allclose(numpy_of(layer(inputs, mask=mask)), numpy_of(plain(inputs, mask=mask)), atol=2e-6)


@fewer_kinds
def test_values_at_masked_steps_do_not_change_gradients(kind):
    inputs = draw_inputs()
    inputs[:, 3:] = 0.0
    layer = make(kind)
    masked = keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.Masking(), layer])
    found = gradients(masked, inputs)
    short = gradients(layer, inputs[:, :3])
    np.testing.assert_allclose(found[0][:, :3], short[0], atol=1e-5)
    assert not found[0][:, 3:].any()
    for gradient, other in zip(found[1:], short[1:], strict=True):
        np.testing.assert_allclose(gradient, other, atol=2e-5)


@fewer_kinds
def test_a_cell_in_keras_rnn_equals_the_layer(kind):
    layer, inputs = make(kind, return_sequences=True), draw_inputs()
    plain = keras.layers.RNN(layer.cell, return_sequences=True)
    np.testing.assert_allclose(numpy_of(plain(inputs)), numpy_of(layer(inputs)), atol=2e-6)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [
        *((kind, "mixed_bfloat16") for kind in KINDS if kind not in LIKE_OTHERS),
        ("ltc", "mixed_float16"),
        *(pytest.param(kind, "mixed_bfloat16", marks=pytest.mark.slow) for kind in LIKE_OTHERS),
        *(pytest.param(kind, "mixed_float16", marks=pytest.mark.slow) for kind in KINDS if kind != "ltc"),
    ],
)
def test_mixed_precision_keeps_state_and_solver_in_float32(kind, precision):
    layer = make(kind, return_sequences=True, return_state=True)
    inputs = ops.convert_to_numpy(ops.cast(ops.cast(draw_inputs(), "bfloat16"), "float32"))
    expected, *states = layer(inputs)
    keras.config.set_dtype_policy(precision)
    try:
        source = keras.Input((STEPS, FEATURES))
        mixed = KINDS[kind](return_sequences=True, return_state=True)
        model = keras.Model(source, mixed(source))
        mixed.set_weights(layer.get_weights())
        outputs, *others = model(inputs)
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(outputs.dtype) == precision.removeprefix("mixed_")
    assert [tensor.dtype for tensor in model.outputs] == [precision.removeprefix("mixed_")] + ["float32"] * len(others)
    for state, other in zip(states, others, strict=True):
        assert keras.backend.standardize_dtype(other.dtype) == "float32"
        np.testing.assert_allclose(numpy_of(other), numpy_of(state), atol=1e-5)
    np.testing.assert_allclose(numpy_of(ops.cast(outputs, "float32")), numpy_of(expected), atol=0.02)
    assert {weight.dtype for weight in mixed.weights} == {"float32"}


@fewer_kinds
def test_a_stateful_layer_continues_from_its_state(kind):
    layer, inputs = make(kind, return_sequences=True), draw_inputs()
    stateful = KINDS[kind](return_sequences=True, stateful=True)
    stateful.build((BATCH, 2, FEATURES))
    stateful.set_weights(layer.get_weights())
    parts = [numpy_of(stateful(inputs[:, start : start + 2])) for start in (0, 2)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), numpy_of(layer(inputs))[:, :4], atol=2e-6)
    stateful.reset_state()
    np.testing.assert_allclose(numpy_of(stateful(inputs[:, :2])), parts[0], atol=2e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "bfloat16"])
def test_a_stateful_layer_keeps_its_states_in_float32(precision):
    layer = make("ltc", return_state=True)
    inputs = numpy_of(ops.cast(ops.cast(draw_inputs(), "bfloat16"), "float32"))
    stateful = KINDS["ltc"](stateful=True, return_state=True, dtype=precision)
    stateful.build((BATCH, 2, FEATURES))
    stateful.set_weights(layer.get_weights())
    _, expected = layer(inputs[:, :4])
    for start in (0, 2):
        outputs, state = stateful(inputs[:, start : start + 2])
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    np.testing.assert_array_equal(numpy_of(state), numpy_of(expected))


@fewer_kinds
def test_a_bidirectional_layer_equals_two_layers(kind):
    layer, inputs = make(kind, return_sequences=True), draw_inputs()
    both = keras.layers.Bidirectional(KINDS[kind](return_sequences=True))
    both.build(inputs.shape)
    for part in (both.forward_layer, both.backward_layer):
        part.set_weights(layer.get_weights())
    outputs = numpy_of(both(inputs))
    size = outputs.shape[-1] // 2
    np.testing.assert_allclose(outputs[..., :size], numpy_of(layer(inputs)), atol=2e-6)
    np.testing.assert_allclose(outputs[..., size:], numpy_of(layer(inputs[:, ::-1].copy()))[:, ::-1], atol=2e-6)


def make_model(kind, **arguments):
    inputs, times = keras.Input((STEPS, FEATURES)), keras.Input((STEPS,))
    layer = KINDS[kind](**arguments)
    model = keras.Model([inputs, times], keras.layers.Dense(1)(layer((inputs, times))))
    randomise(layer)
    return model, layer


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in ("ltc", "cfc-memory") else pytest.mark.slow) for kind in KINDS],
)
def test_a_model_is_cloned_saved_and_read_back(kind, tmp_path):
    model, layer = make_model(kind)
    values = [draw_inputs(), draw_times()]
    expected = numpy_of(model(values))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(numpy_of(again(values)), expected, atol=1e-6)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(numpy_of(clone(values)), expected, atol=1e-6)
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_initialization_ranges_survive_saving(tmp_path):
    ranges = {"w": (0.5, 0.6), "sensory_sigma": [4, 4], "vleak": (-0.1, 0.0)}
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), LTC(AutoNCP(12, 2), initialization_ranges=ranges)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert {name: tuple(limits) for name, limits in again.initialization_ranges.items()} == {
        name: tuple(limits) for name, limits in ranges.items()
    }
    fresh = LTC.from_config(again.get_config())
    fresh.build((None, STEPS, FEATURES))
    for layer in (model.layers[0], fresh):
        cell = layer.cell
        assert 0.5 <= numpy_of(cell.w).min() <= numpy_of(cell.w).max() <= 0.6
        np.testing.assert_array_equal(numpy_of(cell.sensory_sigma), 4.0)
        assert -0.1 <= numpy_of(cell.vleak).min() <= numpy_of(cell.vleak).max() <= 0.0


def test_an_ncp_is_restored_with_its_seed(tmp_path):
    wiring = NCP(6, 4, 2, 3, 2, 3, 2, seed=5)
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), LTC(wiring, return_sequences=True), CfC(wiring)])
    values = draw_inputs()
    expected = numpy_of(model(values))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy_of(again(values)), expected, atol=1e-6)
    matrix = model.layers[0].built_wiring.sensory_adjacency_matrix
    np.testing.assert_array_equal(again.layers[0].built_wiring.sensory_adjacency_matrix, matrix)
    other = build_wiring(NCP(6, 4, 2, 3, 2, 3, 2, seed=6), FEATURES)
    assert not np.array_equal(other.sensory_adjacency_matrix, matrix)


def test_one_wiring_serves_layers_of_different_input_sizes():
    wiring = AutoNCP(12, 2)
    for kind in (LTC, CfC):
        for features in (4, 9):
            assert kind(wiring)(np.ones((2, 3, features), "float32")).shape == (2, 2)
    assert not wiring.is_built()


@pytest.mark.slow
@few_kinds
def test_training_lowers_the_loss_and_keeps_weights_nonnegative(kind):
    keras.utils.set_random_seed(0)
    model, layer = make_model(kind)
    values, target = [draw_inputs(), draw_times()], np.array([[1.0], [-1.0], [0.5]], "float32")
    model.compile(keras.optimizers.Adam(0.1), "mse")
    before = model.evaluate(values, target, verbose=0)
    model.fit(values, target, epochs=30, verbose=0)
    assert model.evaluate(values, target, verbose=0) < 0.95 * before
    constrained = [weight for weight in layer.weights if weight.name in ("gleak", "cm", "w", "sensory_w")]
    assert len(constrained) == (4 if kind.startswith("ltc") else 0)
    assert all(numpy_of(weight).min() >= 0.0 for weight in constrained)
    assert not constrained or any(numpy_of(weight).min() == 0.0 for weight in constrained)


@only_tensorflow
def test_a_graph_gives_the_outputs_of_eager_calls():
    import tensorflow as tf

    layer, given = make("ltc", return_sequences=True), (draw_inputs(), draw_times())
    np.testing.assert_allclose(tf.function(layer, autograph=False)(given), layer(given), atol=2e-5)


@only_tensorflow
@pytest.mark.parametrize(
    ("kind", "jit_compile"),
    [
        ("cfc-dense", True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *(("ltc", False), ("ltc", True), ("cfc", True), ("cfc", False), ("cfc-dense", False)),
                *(("cfc-pure", False), ("ltc-memory", False), ("cfc-memory", False)),
            )
        ),
    ],
)
def test_graphs_and_xla_agree_with_eager_calls(kind, jit_compile):
    import tensorflow as tf

    layer = make(kind, return_sequences=True)
    inputs, times = draw_inputs(), draw_times()

    def train(inputs, times):
        with tf.GradientTape() as tape:
            tape.watch([inputs, times])
            outputs = layer((inputs, times))
            loss = tf.reduce_sum(outputs * outputs)
        sources = [inputs, times, *(weight.value for weight in layer.trainable_weights)]
        found = tape.gradient(loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [outputs, *map(tf.convert_to_tensor, found)]

    compiled = tf.function(train, jit_compile=jit_compile, autograph=False)(tf.constant(inputs), tf.constant(times))
    for given, expected in zip(compiled, train(tf.constant(inputs), tf.constant(times)), strict=True):
        np.testing.assert_allclose(given, expected, atol=2e-5 * max(1.0, np.abs(expected).max()))


@only_tensorflow
@pytest.mark.parametrize(
    ("kind", "jit_compile"),
    [
        ("cfc-dense", False),
        *(pytest.param(kind, True, marks=pytest.mark.slow) for kind in ("cfc-dense", "ltc", "ltc-memory")),
    ],
)
def test_the_sequence_length_may_be_undefined(kind, jit_compile):
    source = keras.Input((None, FEATURES))
    layer = KINDS[kind](return_sequences=True)
    model = keras.Model(source, layer(source))
    randomise(layer)
    model.compile("sgd", "mse", jit_compile=jit_compile)
    short, longer = draw_inputs(steps=3), draw_inputs(steps=6)
    np.testing.assert_allclose(model.predict(short, verbose=0), numpy_of(layer(short)), atol=2e-6)
    assert model.train_on_batch(longer, numpy_of(layer(longer))) < 1e-11  # the loss before the step


@only_tensorflow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in ("cfc-dense", "ltc", "ltc-memory")]
)
def test_a_model_is_exported_as_savedmodel_and_litert(kind, tmp_path):
    import tensorflow as tf

    from keras_lnn.backend.programs import plain_graphs

    model, _ = make_model(kind)
    values = [draw_inputs(), draw_times()]
    expected = model.predict(values, verbose=0)
    model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(saved.serve(values), expected, atol=1e-6)
    with plain_graphs():
        model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(str(tmp_path / "model.tflite"))
    for detail in interpreter.get_input_details():
        value = values[0] if len(detail["shape"]) == 3 else values[1]
        interpreter.resize_tensor_input(detail["index"], value.shape)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], values[0] if len(detail["shape"]) == 3 else values[1])
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_cells_declare_their_state_and_output_sizes():
    for cell in (LTCCell(AutoNCP(12, 2)), WiredCfCCell(AutoNCP(12, 2))):
        assert (cell.state_size, cell.output_size) == (12, 2)
    assert (CfCCell(5).state_size, CfCCell(5).output_size) == (5, 5)
    memory = MixedMemoryCell(LTCCell(FullyConnected(6, 2)))
    assert (memory.state_size, memory.output_size) == ([6, 6], 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LTC(0), "units must be at least 1"),
        (
            lambda: LTC(5, input_mapping="square"),
            "input_mapping must be one of affine, linear, None. Received: 'square'",
        ),
        (lambda: LTC(5, ode_unfolds=0), "ode_unfolds must be at least 1. Received: 0"),
        (lambda: LTC(5, initialization_ranges={"weight": (0, 1)}), "must name one of gleak.* Received: weight"),
        (lambda: LTC(5, initialization_ranges={"w": (-1, 1)}), "must not be negative. Received: -1 to 1"),
        (lambda: LTC(5, initialization_ranges={"mu": (1, 0)}), "from small to large. Received: 1 to 0"),
        (lambda: LTC(5, version="keras"), "version must be one of paper, ncps.keras. Received: 'keras'"),
        (lambda: CfC(5, backbone_dropout=1.0), "backbone_dropout must be from 0"),
        (
            lambda: CfC(AutoNCP(12, 2), sparsity_mask=np.ones((3, 2))),
            "no backbone and no mask. Received: sparsity_mask",
        ),
        (lambda: LTC(5)((draw_inputs(), draw_times()[:, :3])), "the 5 steps of the inputs. Received: 3 steps"),
        (lambda: LTC(5)((draw_inputs(), draw_inputs())), r"\(batch, steps\) or \(batch, steps, 1\)"),
        (lambda: LTC(5)((draw_inputs(),) * 3), r"a tensor or \(inputs, elapsed_time\). Received: 3 tensors"),
    ],
)
def test_invalid_arguments_are_reported(call, message):
    with pytest.raises(ValueError, match=message):
        call()
