"""Wirings of a user's own class: shared, cloned, read in both directions, saved, and refused in time."""

import gc

import keras
import numpy as np
import pytest
from keras import ops
from liquid_cases import randomise
from ncps.wirings import AutoNCP, Wiring

from keras_lnn.layers import LTC, CfC, CfCCell, LTCCell, MixedMemoryCell, WiredCfCCell

BATCH, STEPS, FEATURES = 2, 3, 4
layers = pytest.mark.parametrize("kind", [LTC, CfC])


class Ring(Wiring):
    """A ring of neurons, each reached by one randomly drawn input; it does not define how it is saved."""

    def __init__(self, units, output_dim, seed=3):
        super().__init__(units)
        self.set_output_dim(output_dim)
        self.generator = np.random.default_rng(seed)
        self.past = {"inputs": (1, 2)}
        for neuron in range(units):
            self.add_synapse(neuron, (neuron + 1) % units, self.generator.choice([-1, 1]))

    def build(self, input_dim):
        super().build(input_dim)
        for neuron in range(self.units):
            self.add_sensory_synapse(self.generator.integers(input_dim), neuron, self.generator.choice([-1, 1]))


class Narrow(AutoNCP):
    """A wiring whose arguments are not those of the class that it extends."""

    def __init__(self, neurons):
        super().__init__(neurons, 1, seed=4)


WIRINGS = {"ring": lambda: Ring(5, 2), "narrow": lambda: Narrow(6)}


def draw_inputs(features=FEATURES):
    return np.random.default_rng(0).normal(size=(BATCH, STEPS, features)).astype("float32")


def numpy_of(tensor):
    return ops.convert_to_numpy(tensor)


def make_model(*parts):
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), *parts])
    for layer in model.layers:
        randomise(layer)
    return model


def test_one_wiring_serves_several_layers_without_being_changed():
    wiring = Ring(5, 2)
    for kind in (LTC, CfC):
        for features in (FEATURES, 7):
            layer = kind(wiring)
            assert layer.units is wiring
            before = layer.get_config()
            assert layer(draw_inputs(features)).shape == (BATCH, 2)
            assert layer.built_wiring.input_dim == features
            assert layer.get_config() == before
    assert not wiring.is_built()


@pytest.mark.parametrize(
    ("kind", "wiring"),
    [(CfC, "ring"), (CfC, "narrow"), *(pytest.param(LTC, wiring, marks=pytest.mark.slow) for wiring in WIRINGS)],
)
def test_a_model_is_cloned_saved_and_read_back(kind, wiring, tmp_path):
    model = make_model(kind(WIRINGS[wiring](), return_sequences=True), keras.layers.Bidirectional(kind(Ring(4, 1))))
    inputs = draw_inputs()
    expected = numpy_of(model(inputs))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for other in (clone, again):
        np.testing.assert_allclose(numpy_of(other(inputs)), expected, atol=1e-6)
        assert type(other.layers[0].units) is type(model.layers[0].units)
        assert not other.layers[0].units.is_built()
        assert other.layers[0].get_config() == model.layers[0].get_config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LTC(Ring(5, 2), mixed_memory=True),
        lambda: keras.layers.RNN(WiredCfCCell(Ring(5, 2))),
        *(
            pytest.param(make, marks=pytest.mark.slow)
            for make in (
                lambda: CfC(Ring(5, 2), mixed_memory=True, version="ncps.keras"),
                lambda: keras.layers.RNN(LTCCell(Ring(5, 2))),
                lambda: keras.layers.RNN(MixedMemoryCell(LTCCell(Ring(5, 2)))),
            )
        ),
    ],
)
def test_memory_and_cells_are_saved_and_read_back(make, tmp_path):
    model = make_model(make())
    expected = numpy_of(model(draw_inputs()))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy_of(again(draw_inputs())), expected, atol=1e-6)


@pytest.mark.parametrize("kind", [CfC, pytest.param(LTC, marks=pytest.mark.slow)])
def test_a_file_is_read_where_the_class_is_not_known(kind, tmp_path):
    class Unknown(Ring):
        pass

    wiring = Unknown(5, 2)
    vars(wiring)["itself"] = Unknown
    with pytest.raises(ValueError, match="itself"):
        kind(wiring)
    del wiring
    model = make_model(kind(Unknown(5, 2)))
    expected = numpy_of(model(draw_inputs()))
    model.save(tmp_path / "model.keras")
    del model, Unknown
    keras.backend.clear_session()
    gc.collect()
    assert "Unknown" not in {known.__name__ for known in Ring.__subclasses__()}
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy_of(again(draw_inputs())), expected, atol=1e-6)
    # What has been read can be cloned, put in both directions and saved once more.
    clone = keras.models.clone_model(again)
    clone.set_weights(again.get_weights())
    np.testing.assert_allclose(numpy_of(clone(draw_inputs())), expected, atol=1e-6)
    clone.save(tmp_path / "clone.keras")
    once_more = keras.saving.load_model(tmp_path / "clone.keras")
    np.testing.assert_allclose(numpy_of(once_more(draw_inputs())), expected, atol=1e-6)
    both = keras.layers.Bidirectional(kind.from_config(again.layers[0].get_config()))
    assert both(draw_inputs()).shape == (BATCH, 4)
    layer = kind.from_config(again.layers[0].get_config())
    with pytest.raises(ValueError, match=r"Unknown is not defined here.* built for 4 inputs only. Received: 7"):
        layer(draw_inputs(7))


class Changed(Ring):
    """A wiring whose class has been changed since its models were saved."""

    smallest = 0

    def build(self, input_dim):
        Wiring.build(self, input_dim)
        for neuron in range(self.units):
            self.add_sensory_synapse((neuron + self.smallest) % input_dim, neuron, 1)


@layers
def test_a_saved_wiring_keeps_its_synapses_when_its_class_changes(kind, tmp_path, monkeypatch):
    model = make_model(kind(Changed(5, 2)))
    expected = numpy_of(model(draw_inputs()))
    model.save(tmp_path / "model.keras")
    monkeypatch.setattr(Changed, "smallest", 1)
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy_of(again(draw_inputs())), expected, atol=1e-6)


class Unseeded(Ring):
    """A wiring that is another one each time."""

    def build(self, input_dim):
        Wiring.build(self, input_dim)
        for neuron in range(self.units):
            self.add_sensory_synapse(np.random.randint(input_dim), neuron, 1)  # noqa: NPY002


def with_attribute(value):
    wiring = Ring(5, 2)
    vars(wiring)["rule"] = value
    return wiring


@pytest.mark.parametrize("make", [LTC, CfC, LTCCell, WiredCfCCell])
def test_a_wiring_that_cannot_be_saved_is_refused_when_the_layer_is_made(make):
    with pytest.raises(ValueError, match=r"Received: a Ring whose rule is a function.* build\(features\)"):
        make(with_attribute(lambda: 0))
    with pytest.raises(ValueError, match="output_dim"):
        make(Wiring(5))
    built = with_attribute(lambda: 0)
    built.build(FEATURES)
    assert make(built).get_config()


@layers
def test_a_random_wiring_is_refused_when_the_layer_is_built(kind):
    layer = kind(Unseeded(40, 2))
    with pytest.raises(ValueError, match=r"same synapses each time it is built. Received: Unseeded.*seed"):
        layer.build((None, STEPS, 50))


def test_a_sparse_cell_without_wiring_is_unchanged():
    cell = CfCCell(3, backbone_layers=0)
    cell.build((None, FEATURES))
    assert "wiring" not in cell.get_build_config()
