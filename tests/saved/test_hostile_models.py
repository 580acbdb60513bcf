"""Models that do not match their signature, are damaged or have side effects end in one line each."""

import contextlib
import json
import shutil
import zipfile
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_models  # noqa: F401, registers the networks
from full_disk import full_disk
from quick_predictors import make_signature
from tensorflow.core.protobuf import saved_model_pb2

from keras_lnn.errors import InputError
from keras_lnn.registry import build_model, require_memory_for_model
from keras_lnn.saved.export import export_model
from keras_lnn.saved.graphs import GRAPH_FILE, require_harmless
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import SIGNATURE_FILE, save_keras

SHAPE = (8, 8, 1)
SIGNATURE = make_signature(model="tiny-dense", task="binary", class_names=("no", "yes"), image_shape=SHAPE, size=8)


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        load_predictor(path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def model():
    return build_model("tiny-dense", SHAPE, 2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("models")
    save_keras(model, SIGNATURE, folder / "best.keras")
    return export_model(folder / "best.keras", folder / "exported")


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


@pytest.mark.parametrize("format", ["saved_model", "keras"])
def test_an_export_to_a_full_disk_is_one_line_and_leaves_no_files(exported, tmp_path, format):
    source = exported.parent / "best.keras"
    with zipfile.ZipFile(source) as archive:
        room = archive.getinfo("model.weights.h5").file_size  # which Keras unpacks to read it
    message = r"needs a folder with enough space\. Received: .* Make room"
    with full_disk(room), pytest.raises(InputError, match=message) as caught:
        export_model(source, tmp_path / "out", format)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


UNFIT = {
    "three names": ({"task": "multi-class", "class_names": ["a", "b", "c"]}, r"outputs of shape \(3,\)"),
    "another image": ({"image_shape": [8, 9, 1]}, r"images of shape \(8, 9, 1\)\. Received: .* with \(8, 8, 1\)"),
    "a volume": ({"image_shape": [8, 8, 8, 1]}, r"images of shape \(8, 8, 8, 1\)"),
    "masks": ({"task": "segmentation"}, r"outputs of shape \(8, 8, 2\)"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_signature_that_does_not_fit_its_model(copy, model, tmp_path, case):
    changes, message = UNFIT[case]
    content = json.loads((copy / SIGNATURE_FILE).read_text()) | changes
    (copy / SIGNATURE_FILE).write_text(json.dumps(content))
    refused(copy, message)
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    signature = make_signature(**{"task": "binary", "class_names": ("no", "yes"), "image_shape": SHAPE} | lists)
    save_keras(model, signature, tmp_path / "best.keras")
    refused(tmp_path / "best.keras", message)


@pytest.mark.parametrize("damage", ["empty", "cut", "gone", "other", *range(8)])
def test_a_damaged_graph_is_refused(copy, damage):
    path = copy / GRAPH_FILE
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif isinstance(damage, str):
        path.write_bytes({"empty": b"", "cut": bytes(content[: len(content) // 2]), "other": b"no graph"}[damage])
    else:
        place = int(np.random.default_rng(damage).integers(len(content)))
        content[place] ^= 0xFF
        path.write_bytes(content)
        with contextlib.suppress(InputError):  # a flipped letter of a name that nobody reads does no harm
            load_predictor(copy)
        return
    refused(copy, "The SavedModel must be whole")


def save_module(folder, compute):
    """A SavedModel whose probabilities come from a function of images."""
    module: Any = tf.Module()
    module.weight = tf.Variable(0.5)

    def serve(images):
        return {"probabilities": compute(tf.cast(images, tf.float32)[:, 0, 0, 0], module.weight)}

    signature = [tf.TensorSpec((None, *SHAPE), tf.uint8, name="images")]
    module.serve = tf.function(serve, input_signature=signature)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    (folder / SIGNATURE_FILE).write_text(json.dumps(SIGNATURE.to_json()))
    return folder


def both(values, weight):
    return tf.stack([values * weight, values], axis=-1)


def test_a_graph_that_only_computes_is_loaded(tmp_path):
    def compute(values, weight):
        while tf.reduce_max(values) > 1:
            values = values / 2 if weight > 0 else values * 0
        return both(values + tf.random.uniform([]) * 0, weight)

    found = load_predictor(save_module(tmp_path, compute)).predict(np.full((3, *SHAPE), 128, np.uint8))
    np.testing.assert_allclose(found, [[0.5, 1.0]] * 3)


HARMS = {
    "WriteFile": lambda path, values: tf.io.write_file(path, "x"),
    "ReadFile": lambda path, values: tf.strings.length(tf.io.read_file(path)),
    "MatchingFiles": lambda path, values: tf.size(tf.io.matching_files(path)),
    "SaveV2": lambda path, values: tf.raw_ops.SaveV2(
        prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[values]
    ),
    "PrintV2": lambda path, values: tf.print("x", output_stream=f"file://{path}"),
    "EagerPyFunc": lambda path, values: tf.py_function(lambda: open(path, "w").close(), [], []),
    "PyFunc": lambda path, values: tf.numpy_function(lambda: np.float32(0), [], tf.float32),
}


@pytest.mark.parametrize("operation", HARMS)
def test_a_graph_with_side_effects_is_not_loaded(tmp_path, operation):
    target = tmp_path / "written"

    def compute(values, weight):
        def harm():
            effect = HARMS[operation](str(target), values)
            with tf.control_dependencies([effect] if effect is not None else []):
                return tf.identity(values)

        # Inside a branch, which is a function of its own.
        return both(tf.cond(weight > 0, harm, lambda: values), weight)

    folder = save_module(tmp_path / "model", compute)
    refused(
        folder,
        rf"must contain only computations\. Received: .* with the operation {operation}, which can read or write files",
    )
    assert not target.exists()


def edit(folder, change):
    graph = (folder / GRAPH_FILE).read_bytes()
    content = saved_model_pb2.SavedModel.FromString(graph)  # ty: ignore[missing-attribute] made at import
    change(content)
    (folder / GRAPH_FILE).write_bytes(content.SerializeToString())


def name_unknown(content):
    content.meta_graphs[0].graph_def.node[0].op = "FormatDisk"


def promise_constant(content):
    functions = content.meta_graphs[0].graph_def.library.function
    constant = next(node for function in functions for node in function.node_def if node.op == "Const")
    shape = constant.attr["value"].tensor.tensor_shape
    del shape.dim[:]
    shape.dim.add().size = 10**11


def call_saving(content):
    graph = content.meta_graphs[0]
    node = next(node for node in graph.graph_def.node if graph.saver_def.save_tensor_name.startswith(f"{node.name}:"))
    other = graph.graph_def.node.add()
    other.CopyFrom(node)
    other.name = "again"


def forget_objects(content):
    content.meta_graphs[0].ClearField("object_graph_def")


EDITS = {
    name_unknown: "FormatDisk, which TensorFlow does not know",
    promise_constant: "Const, which has more values than any model",
    call_saving: r"(ShardedFilename|SaveV2|MergeV2Checkpoints), which can read or write",
    forget_objects: "no objects in its graph",
}


@pytest.mark.parametrize("change", EDITS)
def test_an_edited_graph_is_not_loaded(copy, change):
    require_harmless(copy)
    edit(copy, change)
    refused(copy, EDITS[change])


def write_keras(path, config):
    """A ``.keras`` file with a configuration of its own."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
        archive.writestr(SIGNATURE_FILE, json.dumps(SIGNATURE.to_json()))
    return path


def keras_config(layer, **config):
    inputs = {"class_name": "InputLayer", "module": "keras.layers", "config": {"batch_shape": [None, *SHAPE]}}
    layers = [inputs | {"registered_name": None}, {"class_name": layer, "module": "keras.layers", "config": config}]
    content = {"name": "model", "trainable": True, "layers": layers}
    return {"module": "keras", "class_name": "Sequential", "config": content, "registered_name": None}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (keras_config("TorchModuleWrapper", module="x"), "cannot be loaded in safe mode"),
        (keras_config("Lambda", function={"class_name": "__lambda__", "config": {"code": "x"}}), "in safe mode"),
        (keras_config("Dense", units=10**12), r"in safe mode \(units is 1000000000000\)"),
        (keras_config("Dense", units=-(10**30)), r"in safe mode \(units is"),
        (keras_config("Dense", units="many"), "in safe mode"),
        ({"module": "os", "class_name": "system", "config": {}, "registered_name": "system"}, "must be known"),
        ({"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}, "in safe mode"),
        ([], "in safe mode"),
        (None, "in safe mode"),
    ],
)
def test_an_invalid_keras_file_is_refused(tmp_path, config, message):
    refused(write_keras(tmp_path / "best.keras", config), message)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = write_keras(tmp_path / "best.keras", {})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(10**7))
    refused(path, "bytes in a small file")


def test_a_model_larger_than_the_memory_is_not_built():
    with pytest.raises(InputError, match=r"must fit into memory \(.* GiB\)\. Received"):
        require_memory_for_model("dnn", (8192, 8192, 3), 2, units=2**14)
    require_memory_for_model("dnn", (28, 28, 1), 2, units=3000)
    # Nothing is left of the weights that were counted.
    assert keras.layers.Dense(2)(np.ones((1, 3))).shape == (1, 2)
