"""OpenVINO models in int8: which layers compute in integers, and what registered networks predict then."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from keras_lnn.errors import InputError
from keras_lnn.saved.export import export_model, require_format
from keras_lnn.saved.openvino_packages import import_openvino


def make_loop_between_layers():
    """A model with a convolution, dense layers before and after a loop, and probabilities and decisions."""
    openvino = import_openvino()
    nodes, random = openvino.opset13, np.random.default_rng(0)

    def constant(values):
        return nodes.constant(values.astype(np.float32))

    def dense(values, width, name):
        found = nodes.matmul(values, constant(random.normal(size=(16, width)) / 4), False, False)
        found.set_friendly_name(name)
        return found

    images = nodes.parameter([-1, 1, 4, 4], np.float32, "images")
    images.output(0).set_names({"images"})
    maps = nodes.relu(
        nodes.convolution(images, constant(random.normal(size=(4, 1, 3, 3))), [1, 1], [0, 0], [0, 0], [1, 1])
    )
    flat = nodes.reshape(maps, nodes.constant(np.array([-1, 16])), False)
    flat.set_friendly_name("flat")
    inputs = dense(nodes.relu(dense(flat, 16, "features")), 16, "of the recurrence")
    state = nodes.parameter([-1, 16], np.float32)
    turned = nodes.matmul(state, constant(np.eye(16)[::-1]), False, False)
    always = nodes.constant(np.array(True))
    loop = nodes.loop(nodes.constant(np.array(3)), nodes.constant(np.array(True)))
    loop.set_function(openvino.Model([turned, always], [state]))
    loop.set_special_body_ports([-1, 1])
    loop.set_merged_input(state, inputs.output(0), turned.output(0))
    logits = dense(loop.get_iter_value(turned.output(0)), 2, "logits")
    probabilities = nodes.softmax(nodes.multiply(logits, constant(np.array([1.5, 0.5]))), 1)
    return openvino.Model([probabilities, nodes.greater(probabilities, constant(np.array([0.5, 0.5])))], [images])


def test_int8_leaves_loops_probabilities_and_decisions_in_float32(monkeypatch, capfd):
    from keras_lnn.saved import openvino_precision

    images = np.random.default_rng(1).normal(size=(16, 1, 4, 4)).astype(np.float32)
    monkeypatch.setattr(openvino_precision, "list_batches", lambda *_: [{"images": images}])
    whole = make_loop_between_layers()
    model = openvino_precision.to_int8(whole, images)
    assert capfd.readouterr() == ("", "")
    assert openvino_precision.has_integers(model)
    assert not openvino_precision.has_integers(whole)
    (convolution,) = (node.get_friendly_name() for node in model.get_ops() if node.get_type_name() == "Convolution")
    read = [
        (node.get_friendly_name(), source.get_node().get_type_name())
        for node in model.get_ops()
        for source in node.input_values()
    ]
    # What is flat passes its integers on to the features.
    assert {node for node, source in read if source == "FakeQuantize"} == {convolution, "flat", "logits"}
    (loop,) = (node for node in model.get_ops() if node.get_type_name() == "Loop")
    assert {node.get_type_name() for node in loop.get_function().get_ops()} == {
        "Parameter",
        "Constant",
        "MatMul",
        "Result",
    }
    compile_model = import_openvino().Core().compile_model
    found, expected = (compile_model(one, "CPU")({"images": images})[0] for one in (model, whole))
    assert 1e-6 < np.abs(found - expected).max() < 0.02


def test_int8_without_its_package_names_the_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nncf" else find(name))
    require_format("openvino")
    require_format("openvino", "float16")
    with pytest.raises(
        InputError,
        match=r"An OpenVINO model in int8 is written by the package nncf\..*\"keras-lnn\[openvino-int8\]\"",
    ):
        export_model("nowhere", "out", "openvino", precision="int8")


_TELEMETRY = """
from keras_lnn.saved.openvino_packages import import_nncf
import_nncf()
import sys
import nncf.telemetry.wrapper as wrapper
assert "pytest" not in sys.modules
assert not isinstance(wrapper.telemetry, wrapper.NNCFTelemetry)
"""


@pytest.mark.slow
def test_quantising_reports_nothing_to_its_maker():
    subprocess.run([sys.executable, "-c", _TELEMETRY], check=True)
