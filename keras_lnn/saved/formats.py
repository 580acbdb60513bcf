"""The table of export formats: adding one is a module that writes and loads it, and an entry here.

The command line, exporting, loading and the card of a model ask this table, which therefore imports no room of the
package: the module of a format is imported when a model is written or loaded.
"""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any, Literal

from keras_lnn.errors import InputError, suggest

NO_EXPORT = "none"
# In which numbers an export can be written in place of float32, with what that means for the card of a model.
PRECISIONS = {
    "int8": "weights of convolutions and dense layers in 8 bits; the states of recurrences stay in float32",
    "float16": "weights in 16 bits; a processor computes with them in float32",
}
_LOADED_HERE = """from keras_lnn.saved.predictor import load_predictor

model = load_predictor("{folder}")
"""


@dataclasses.dataclass(frozen=True)
class Format:
    """An export format.

    Args:
        module: The module that defines ``write(predictor, folder, samples)``, which puts the model into a new folder,
            and ``load(path, signature)``, which returns a :class:`~keras_lnn.saved.predictor.Predictor`. One with
            ``precisions`` also defines ``write_reduced(predictor, folder, precision, images)``.
        pattern: Pattern of a file that exports of this format hold, and of no other one.
        article: What an export of this format is, in words, such as ``a SavedModel``.
        loading: Python code for the card that loads the model from ``{folder}``.
        gives: What that code leaves: ``predictor``, a ``model`` as this package loads it, or ``outputs``, a ``result``
            that maps names to arrays.
        holds_signature: Whether that file carries the signature and the samples, and is a model without its folder.
        backend: The only Keras backend that writes it, such as ``TensorFlow``; None for any. Under another one a
            process of its own writes it.
        library: What model hubs call the library that runs it.
        extra: The extra of this package that brings what writes and runs it; None where nothing more is needed.
        runtime: The package that runs it, of that extra.
        converter: The package that writes it beside TensorFlow, of that extra.
        precisions: The lower precisions than float32 in which it can be written, of ``PRECISIONS``.
        quantizer: The package that it also needs to be written in int8, of an extra such as ``openvino-int8``.
    """

    module: str
    pattern: str
    article: str
    loading: str = _LOADED_HERE
    gives: Literal["predictor", "outputs"] = "predictor"
    holds_signature: bool = False
    backend: str | None = None
    library: str = "keras"
    extra: str | None = None
    runtime: str | None = None
    converter: str | None = None
    precisions: tuple[str, ...] = ()
    quantizer: str | None = None

    def require_installed(self, *, writing: bool, precision: str | None = None) -> None:
        """Checks that the packages of the format's extras are there.

        Args:
            writing: Whether a model is to be written; otherwise it is only run.
            precision: The lower precision in which it is to be written; None for float32.
        """
        needed = [(self.runtime, self.extra), (self.converter if writing else None, self.extra)]
        needed.append((self.quantizer if precision == "int8" else None, f"{self.extra}-int8"))
        for package, extra in needed:
            if package is not None and importlib.util.find_spec(package) is None:
                purpose = "written" if writing else "run"
                what = self.article if precision is None else f"{self.article} in {precision}"
                raise InputError(
                    f"{what[0].upper()}{what[1:]} is {purpose} by the package {package}. Received: an environment"
                    f' without it. Install it: python -m pip install "keras-lnn[{extra}]".'
                )

    def write(self, predictor: Any, folder: Path, samples: Any) -> None:
        """Writes a model to an empty folder.

        Args:
            predictor: The model with its signature, a :class:`~keras_lnn.saved.predictor.KerasPredictor`.
            folder: The folder.
            samples: The :class:`~keras_lnn.data.samples.SampleRecord` of what it learned from; None where not known.
        """
        self._import().write(predictor, folder, samples)

    def write_reduced(self, predictor: Any, folder: Path, precision: str, images: Any) -> None:
        """Writes a model to an empty folder in a lower precision.

        Args:
            predictor: The model with its signature, a :class:`~keras_lnn.saved.predictor.KerasPredictor`.
            folder: The folder.
            precision: One of its ``precisions``.
            images: Images like those of the training, whose values give the ranges of integers; None where there are
                none, which only ``int8`` needs.
        """
        self._import().write_reduced(predictor, folder, precision, images)

    def load(self, path: Path, signature: Any) -> Any:
        """Loads a model, ready to predict.

        Args:
            path: The folder of the export, or its file where this holds the signature.
            signature: What the model is, a :class:`~keras_lnn.saved.signature.Signature`.
        """
        self.require_installed(writing=False)
        return self._import().load(path, signature)

    def is_in(self, folder: Path) -> bool:
        """Returns whether a folder holds an export of this format."""
        return any(folder.glob(self.pattern))

    def _import(self) -> Any:
        return importlib.import_module(self.module)


FORMATS = {
    "saved_model": Format(
        module="keras_lnn.saved.saved_models",
        pattern="saved_model.pb",
        article="a SavedModel",
        loading="""import tensorflow as tf

model = tf.saved_model.load("{folder}")
result = model.serve({inputs})  # images: uint8, {shape}, pixel values as they are
""",
        gives="outputs",
        backend="TensorFlow",
    ),
    "keras": Format(
        module="keras_lnn.saved.keras_files", pattern="*.keras", article="a .keras file", holds_signature=True
    ),
    "onnx": Format(
        module="keras_lnn.saved.onnx_files",
        pattern="*.onnx",
        article="an ONNX file",
        loading="""import onnxruntime

session = onnxruntime.InferenceSession("{folder}/model.onnx")
names = [output.name for output in session.get_outputs()]
# images: uint8, {shape}, pixel values as they are
result = dict(zip(names, session.run(names, {named_inputs})))
""",
        gives="outputs",
        backend="TensorFlow",
        library="onnx",
        extra="onnx",
        runtime="onnxruntime",
        converter="tf2onnx",
        precisions=("int8", "float16"),
    ),
    "litert": Format(
        module="keras_lnn.saved.litert_files",
        pattern="*.tflite",
        article="a LiteRT file",
        loading="""from ai_edge_litert.interpreter import Interpreter

model = Interpreter("{folder}/model.tflite").get_signature_runner("serving_default")
result = model({keyword_inputs})  # images: uint8, {shape}, pixel values as they are
""",
        gives="outputs",
        backend="TensorFlow",
        library="tflite",
        extra="litert",
        runtime="ai_edge_litert",
        precisions=("int8", "float16"),
    ),
    "openvino": Format(
        module="keras_lnn.saved.openvino_files",
        pattern="*.xml",
        article="an OpenVINO model",
        loading="""import openvino

model = openvino.Core().compile_model("{folder}/model.xml", "CPU")
found = model({named_inputs})  # images: uint8, {shape}, pixel values as they are
result = {{output.any_name: found[output] for output in model.outputs}}
""",
        gives="outputs",
        backend="TensorFlow",
        library="openvino",
        extra="openvino",
        runtime="openvino",
        precisions=("int8", "float16"),
        quantizer="nncf",
    ),
}


def list_formats() -> tuple[str, ...]:
    """Returns the names of the formats, the default one first."""
    return tuple(FORMATS)


def list_precisions() -> tuple[str, ...]:
    """Returns the names of the lower precisions in which some format can be written."""
    return tuple(PRECISIONS)


def describe_precision(precision: str) -> str:
    """Returns what a lower precision is, in words."""
    return f"{precision}: {PRECISIONS[precision]}"


def require_precision(format: str, precision: str) -> None:
    """Checks that a format can be written in a precision.

    Args:
        format: The name of the format.
        precision: The name of the precision.
    """
    if precision not in PRECISIONS:
        raise InputError(f"There is no precision {precision!r}. {suggest(precision, PRECISIONS)}")
    if precision not in FORMATS[format].precisions:
        able = [name for name, one in FORMATS.items() if precision in one.precisions]
        raise InputError(
            f"--quantize {precision} is for the formats {', '.join(able)}. Received: {format}, which keeps the"
            " precision of the model. Choose one of those with --format, or leave it out."
        )


def list_exports() -> tuple[str, ...]:
    """Returns what can be asked for at the end of a training: a format, or no export."""
    return (*FORMATS, NO_EXPORT)


def find_format(path: Path) -> Format:
    """Returns the format of a saved model; of a folder without any known file that of a damaged SavedModel.

    Args:
        path: The folder of an export, or a file.
    """
    if path.is_dir():
        return next((format for format in FORMATS.values() if format.is_in(path)), FORMATS["saved_model"])
    return next((format for format in FORMATS.values() if path.match(format.pattern)), FORMATS["keras"])
