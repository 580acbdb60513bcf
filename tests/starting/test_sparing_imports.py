"""Keras is imported without what a run does not need."""

import importlib
import json
import os
import subprocess
import sys

import pytest

from keras_lnn.starting.importing import _chosen_backend, _sparing, _unneeded_with


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a package whose module counts its loads, and one that imports an optional package."""
    folder = tmp_path / "spared_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from spared_package import slow\n")
    (folder / "slow.py").write_text("import os\nos.environ['SPARED_LOADS'] += '1'\nvalue = 7\n")
    (tmp_path / "spared_optional.py").write_text("value = 8\n")
    (tmp_path / "spared_user.py").write_text(
        "try:\n    import spared_optional\nexcept ImportError:\n    spared_optional = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SPARED_LOADS", "")
    yield
    for name in [name for name in sys.modules if name.startswith("spared_")]:
        del sys.modules[name]


def test_a_rarely_used_module_is_loaded_once_it_is_used(package):
    with _sparing({"spared_package.slow"}, ()):
        found = importlib.import_module("spared_package")
    assert os.environ["SPARED_LOADS"] == ""
    assert found.slow.value == 7
    assert os.environ["SPARED_LOADS"] == "1"


def test_a_hidden_module_can_be_imported_afterwards(package):
    with _sparing((), {"spared_optional"}):
        assert importlib.import_module("spared_user").spared_optional is None
    assert importlib.import_module("spared_optional").value == 8


def test_nothing_stays_behind_after_an_error(package):
    before = list(sys.meta_path)
    with pytest.raises(RuntimeError), _sparing({"spared_package.slow"}, {"spared_optional"}):
        raise RuntimeError
    assert sys.meta_path == before


@pytest.mark.parametrize("content", ['{"backend": "jax"}', "[]", "{", None])
def test_the_backend_is_that_of_the_environment_or_of_the_file_of_keras(tmp_path, monkeypatch, content):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if content is not None:
        (tmp_path / "keras.json").write_text(content)
    assert _chosen_backend() == ("jax" if content and "jax" in content else "")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert _chosen_backend() == "tensorflow"


@pytest.mark.parametrize("backend", ["", "tensorflow", "numpy", "jax", "torch"])
def test_jax_is_only_hidden_from_tensorflow(backend):
    assert ("jax" in _unneeded_with(backend)) == (backend in ("", "tensorflow"))


@pytest.mark.slow
def test_keras_starts_without_scikit_learn_and_jax_and_its_wrappers_still_work():
    code = (
        "import json, sys; from keras_lnn.starting.importing import import_keras; import_keras()\n"
        "before = [name in sys.modules for name in ('keras', 'sklearn', 'jax')]\n"
        "import keras; keras.wrappers.SKLearnClassifier; keras.visualization.plot_image_gallery\n"
        "print(json.dumps([*before, 'sklearn' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [True, False, False, True]


@pytest.mark.slow
def test_keras_starts_with_the_backend_that_suffices_for_waiting():
    code = "from keras_lnn.starting.importing import import_keras; import_keras()\n"
    code += "import keras; print(keras.backend.backend())"
    variables = {**os.environ, "KERAS_BACKEND": "numpy"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "numpy"


def test_a_look_at_a_module_does_not_load_it(package):
    with _sparing({"spared_package.slow"}, ()):
        found = importlib.import_module("spared_package")
    assert found.slow.__name__ == "spared_package.slow"
    assert found.slow.__file__.endswith("slow.py")
    assert os.environ["SPARED_LOADS"] == ""
    for _ in range(2):
        with pytest.raises(AttributeError, match="nothing"):
            found.slow.nothing  # noqa: B018, it is looked for
    assert os.environ["SPARED_LOADS"] == "1"


def test_a_module_that_fails_is_loaded_again_when_it_is_used_again(package, tmp_path):
    module = tmp_path / "spared_package" / "slow.py"
    module.write_text("raise RuntimeError('not now')\n")
    with _sparing({"spared_package.slow"}, ()):
        found = importlib.import_module("spared_package")
    with pytest.raises(RuntimeError, match="not now"):
        found.slow.value  # noqa: B018, it is looked for
    module.write_text("value = 9  # of another length\n")
    assert found.slow.value == 9


@pytest.mark.slow
def test_the_rarely_used_parts_of_tensorflow_still_work():
    code = (
        "from keras_lnn.starting.importing import import_keras; import_keras()\n"
        "import tensorflow as tf\n"
        "tf.compat.v1.placeholder_with_default; tf.compat.v2.constant; tf.lite.TFLiteConverter; tf.signal.fft\n"
        "tf.feature_column.numeric_column; tf.summary.scalar; tf.strings.join; tf.test.TestCase; tf.queue.FIFOQueue\n"
        "import tensorflow.compat.v1 as v1; v1.disable_v2_behavior; tf.keras.Model\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
