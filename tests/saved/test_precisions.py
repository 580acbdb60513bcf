"""Exports in int8 and float16: what is written, that it still predicts, and that a loss is measured and limited."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tiny_models  # noqa: F401, registers the networks

from keras_lnn.benchmarking.fidelity import measure_fidelity
from keras_lnn.benchmarking.outputs import ModelOutputs
from keras_lnn.cli.export import ExportCommand, run_export
from keras_lnn.cli.parsing import parse_command
from keras_lnn.data.arrays import Split
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model
from keras_lnn.saved.export import export_model, find_place
from keras_lnn.saved.formats import FORMATS
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import SIGNATURE_FILE, Signature, save_keras
from keras_lnn.statistics.paired_tests import compare_auc

SHAPE = (28, 28, 1)
IMAGES = np.random.default_rng(1).integers(0, 256, (40, *SHAPE), dtype=np.uint8)


def save(name, folder):
    keras.utils.set_random_seed(2)
    model = build_model(name, SHAPE, 2)
    values = {"model": name, "model_args": {}, "task": "binary", "class_names": ("no", "yes"), "image_shape": SHAPE}
    values |= {"data": "d", "size": None, "checksum": "md5:0", "licence": "", "parameters": 1, "seed": 0}
    save_keras(model, Signature(**values, best_epoch=1, trained_by="a test"), folder / "best.keras")
    return folder / "best.keras"


@pytest.fixture(scope="module")
def liquid(tmp_path_factory):
    return save("tiny-liquid", tmp_path_factory.mktemp("liquid"))


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return save("tiny-dense", tmp_path_factory.mktemp("dense"))


def make_loop_after_a_convolution():
    """An ONNX model that convolves images, and multiplies what it finds with a matrix, three times in a loop."""
    from onnx import TensorProto, helper, numpy_helper

    def value(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    random = np.random.default_rng(0)
    constants = {
        "kernels": random.normal(size=(4, 1, 3, 3)).astype(np.float32),
        "matrix": np.eye(16, dtype=np.float32)[::-1],
        "shape": np.array([-1, 16]),
        "steps": np.array(3),
        "on": np.array(True),
    }
    inner = [
        helper.make_node("Identity", ["on_in"], ["on_out"]),
        helper.make_node("MatMul", ["h", "matrix"], ["h_out"]),
    ]
    inputs = [value("i", [], TensorProto.INT64), value("on_in", [], TensorProto.BOOL), value("h", [None, 16])]
    body = helper.make_graph(inner, "body", inputs, [value("on_out", [], TensorProto.BOOL), value("h_out", [None, 16])])
    nodes = [
        helper.make_node("Conv", ["images", "kernels"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("Reshape", ["positive", "shape"], ["flat"]),
        helper.make_node("Loop", ["steps", "on", "flat"], ["found"], body=body),
    ]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(
        nodes, "model", [value("images", ["samples", 1, 4, 4])], [value("found", [None, 16])], weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_int8_leaves_what_is_in_loops_in_float32(monkeypatch):
    import onnxruntime

    from keras_lnn.saved import onnx_precision

    images = np.random.default_rng(1).normal(size=(32, 1, 4, 4)).astype(np.float32)
    batches = [{"images": images[:16]}, {"images": images[16:]}]
    monkeypatch.setattr(onnx_precision, "list_batches", lambda *_: iter(batches))
    whole = make_loop_after_a_convolution()
    model = onnx_precision.to_int8(whole, images)
    assert onnx_precision.has_integers(model)
    assert not onnx_precision.has_integers(whole)
    body = next(one.g for node in model.graph.node if node.op_type == "Loop" for one in node.attribute)
    assert [node.op_type for node in body.node] == ["Identity", "MatMul"]
    found, expected = (
        onnxruntime.InferenceSession(one.SerializeToString()).run(None, {"images": images})[0] for one in (model, whole)
    )
    assert 1e-6 < np.abs(found - expected).max() < 0.02 * expected.max()


@pytest.mark.slow
def test_onnx_in_int8_leaves_loops_in_float32(liquid, tmp_path):
    import onnx

    folder = export_model(liquid, tmp_path / "out", "onnx", None, IMAGES, "int8", lambda exported: "little")
    model = onnx.load(folder / "model.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") >= 1
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    body = next(one.g for one in loop.attribute if one.name == "body")
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in body.node}
    loaded, reference = load_predictor(folder), load_predictor(liquid)
    found, expected = loaded.predict(IMAGES), reference.predict(IMAGES)
    np.testing.assert_allclose(found, expected, atol=0.03)
    assert np.abs(found - expected).max() > 1e-6
    assert loaded.signature == dataclasses.replace(reference.signature, precision="int8")
    card = (folder / "README.md").read_text()
    assert "| Precision | int8: weights of convolutions" in card
    assert "| Loss of precision | little |" in card


def test_litert_in_int8_keeps_raw_images_and_float_probabilities(dense, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    folder = export_model(dense, tmp_path / "out", "litert", None, IMAGES, "int8")
    model = Interpreter(str(folder / "model.tflite"))
    types = {one["index"]: one["dtype"].__name__ for one in model.get_tensor_details()}
    nodes = {one["op_name"]: types[one["inputs"][0]] for one in model._get_ops_details()}
    assert (nodes["FULLY_CONNECTED"], nodes["SOFTMAX"]) == ("int8", "float32")
    runner = model.get_signature_runner()
    assert runner.get_input_details()["images"]["dtype"] is np.uint8
    assert runner.get_output_details()["probabilities"]["dtype"] is np.float32
    expected = load_predictor(dense).predict(IMAGES)
    np.testing.assert_allclose(load_predictor(folder).predict(IMAGES), expected, atol=0.03)


def test_onnx_in_float16_halves_weights_and_is_kept_where_a_loss_is_refused(dense, tmp_path):
    import onnx

    whole = export_model(dense, tmp_path / "out", "onnx") / "model.onnx"
    halved = export_model(dense, tmp_path / "out", "onnx", precision="float16") / "model.onnx"
    assert halved.parent == tmp_path / "out-onnx-float16"
    sizes = [max(len(one.raw_data) for one in onnx.load(file).graph.initializer) for file in (whole, halved)]
    assert sizes == [28 * 28 * 4 * 4, 28 * 28 * 4 * 2]
    found, expected = (load_predictor(one).predict(IMAGES) for one in (halved.parent, dense))
    np.testing.assert_allclose(found, expected, atol=0.003)
    before = halved.read_bytes()

    def refuse(exported):
        raise InputError("too much")

    with pytest.raises(InputError, match="too much"):
        export_model(dense, halved.parent, "onnx", precision="float16", judge=refuse)
    assert halved.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out-onnx-float16"}


def test_a_precision_is_refused_where_a_format_or_data_lack(tmp_path):
    with pytest.raises(InputError, match=r"--quantize int8 is for the formats onnx, .* Received: keras, which keeps"):
        export_model("nowhere", tmp_path, "keras", precision="int8")
    with pytest.raises(InputError, match=r"There is no precision 'int4'\."):
        export_model("nowhere", tmp_path, "onnx", precision="int4")
    with pytest.raises(InputError, match=r"int8 needs images of the validation split.* choose --quantize float16\."):
        export_model("nowhere", tmp_path, "onnx", precision="int8")


def test_the_command_line_refuses_a_format_without_precisions_at_once(dense, tmp_path):
    asked = [str(dense), "--format", "saved_model", "--quantize", "float16", "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match="Received: saved_model, which keeps the precision of the model"):
        run_export(parse_command(ExportCommand, asked, "keras-lnn export"))


def test_exports_of_other_precisions_stand_beside_each_other(dense, tmp_path):
    signature = load_predictor(dense).signature
    for precision in (None, "int8"):
        folder = tmp_path / f"mine-{precision}"
        folder.mkdir()
        (folder / "model.onnx").touch()
        content = dataclasses.replace(signature, precision=precision).to_json()
        (folder / SIGNATURE_FILE).write_text(json.dumps(content))
    whole, integers = tmp_path / "mine-None", tmp_path / "mine-int8"
    assert find_place(whole, "onnx") == whole
    assert find_place(whole, "onnx", "int8") == tmp_path / "mine-None-onnx-int8"
    assert find_place(integers, "onnx", "int8") == integers
    assert find_place(integers, "onnx") == tmp_path / "mine-int8-onnx"
    assert find_place(tmp_path / "new", "litert", "int8") == tmp_path / "new"


def test_signatures_of_versions_without_precisions_are_read(dense):
    content = load_predictor(dense).signature.to_json()
    assert content.pop("precision") is None
    assert Signature.from_json(content).precision is None
    with pytest.raises(ValueError, match="precision must be one of int8, float16"):
        Signature.from_json(content | {"precision": "int4"})


def outputs_of(scores):
    probabilities = np.stack([1 - scores, scores], axis=1)
    return ModelOutputs(probabilities, probabilities)


def test_the_loss_is_that_of_the_paired_test_by_patient(dense):
    generator = np.random.default_rng(3)
    labels = np.arange(60) % 2
    scores = np.clip(0.3 * labels + generator.uniform(0, 0.7, 60), 0, 1)
    worse = np.clip(scores + generator.normal(0, 0.2, 60), 0, 1)
    patients = [f"patient {place // 2}" for place in range(60)]
    signature = load_predictor(dense).signature
    split = Split(np.zeros((60, *SHAPE), np.uint8), labels, groups=patients)
    found = measure_fidelity(signature, split, outputs_of(scores), outputs_of(worse))
    expected = compare_auc(labels == 1, scores, worse, groups=patients)
    np.testing.assert_allclose(dataclasses.astuple(found.loss), dataclasses.astuple(expected))
    assert found.changed == ((scores > 0.5) != (worse > 0.5)).mean()
    assert found.largest == np.abs(scores - worse).max()
    assert f"loss {expected.value:+.4f} (95% interval {expected.low:+.4f} to {expected.high:+.4f})" in found.describe()
    found.require_at_most(expected.value)
    with pytest.raises(InputError, match=r"may lose at most 0 of AUC\. Received: a loss of .* Raise --max-loss"):
        dataclasses.replace(found, loss=dataclasses.replace(found.loss, value=0.02)).require_at_most(0.0)


def test_changed_decisions_of_masks_are_counted_by_pixel(dense):
    values = {"task": "segmentation", "class_names": ("background", "lesion"), "image_shape": (4, 4, 1)}
    signature = dataclasses.replace(load_predictor(dense).signature, **values)
    masks = np.zeros((6, 4, 4), np.uint8)
    masks[:, :2] = 1
    other = masks.copy()
    other[0, 3, 3] = 1
    probabilities = np.zeros((6, 4, 4, 2))
    split = Split(np.zeros((6, 4, 4, 1), np.uint8), masks)
    outputs = ModelOutputs(masks, probabilities), ModelOutputs(other, probabilities + 0.25)
    found = measure_fidelity(signature, split, *outputs)
    assert (found.metric, found.unit, found.changed, found.largest) == ("dice", "pixels", 1 / 96, 0.25)
    # The Dice of all pixels together: 48 are right, and one is too many.
    assert found.loss.value == pytest.approx(1 / 97)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "float16"])
@pytest.mark.parametrize("name", ["cnn", "lnn"])
@pytest.mark.parametrize("format", ["onnx", "litert", "openvino"])
def test_registered_networks_predict_nearly_the_same_in_lower_precisions(format, name, precision, tmp_path):
    source = save(name, tmp_path)
    if precision not in FORMATS[format].precisions:
        pytest.skip(f"{format} has no {precision}")
    folder = export_model(source, tmp_path / "out", format, None, IMAGES, precision)
    found, expected = (load_predictor(one).predict(IMAGES) for one in (folder, source))
    np.testing.assert_allclose(found, expected, atol=0.1 if precision == "int8" else 0.01)
