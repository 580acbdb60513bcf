"""Users' own modules: imported once, by every command, and recorded in runs and studies."""

import sys

import keras
import pytest
import tiny_models  # noqa: F401, registers tiny-dense
import yaml

from keras_lnn import __main__ as program
from keras_lnn import registry
from keras_lnn.cli.parsing import run_main
from keras_lnn.cli.study import StudyCommand, _lay_out
from keras_lnn.config import TrainConfig
from keras_lnn.data import catalog
from keras_lnn.errors import InputError
from keras_lnn.registry import build_model
from keras_lnn.runs.own_modules import import_modules, require_names
from keras_lnn.saved.predictor import load_model, load_predictor
from keras_lnn.saved.signature import Signature, save_keras
from keras_lnn.studies.declaration import Study
from keras_lnn.studies.memory import remember
from keras_lnn.training.protocol import complete_config, is_run_of

MODULE = "own_module_of_a_test"
SOURCE = """
import keras
import numpy as np
from keras_lnn import register_arrays, register_model

@register_model(family="test", reference_data="phantom-breast", epochs=1)
def own_net(image_shape, outputs):
    '''A network of a test.'''
    inputs = keras.Input(image_shape)
    return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Flatten()(inputs)))

register_arrays("own-set", np.zeros((30, 8, 8), np.uint8), np.arange(30) % 2)
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """The name of a module in the working folder; what it registers is forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry.list_models()  # else they are loaded into the copy only
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    monkeypatch.setattr(sys.modules["keras_lnn.data.catalog"], "_REGISTERED", {})
    monkeypatch.setattr("keras_lnn.data.sources.own_arrays._REGISTERED", {})
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    yield MODULE
    sys.modules.pop(MODULE, None)


def save_run(folder, imports):
    """A run's folder with a model, as far as predictions need one."""
    folder.mkdir()
    model = build_model("tiny-dense", (8, 8, 1), 2)
    signature = Signature(
        *("tiny-dense", {}, "binary", ("level", "upright"), (8, 8, 1), "own-set", None, "none", "", 1, 0, 1, "a test")
    )
    save_keras(model, signature, folder / "best.keras")
    (folder / "config.yaml").write_text(TrainConfig(data="own-set", imports=imports).to_yaml())
    return folder


def test_a_configuration_imports_its_own_modules(own_module, tmp_path):
    config = TrainConfig(model="own-net", data="own-set", imports=(own_module,))
    assert complete_config(config).epochs == 1
    assert {"own-set"} <= set(catalog())
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert TrainConfig.from_yaml(tmp_path / "config.yaml").imports == (own_module,)


def test_names_are_checked_before_importing_modules_where_possible(own_module):
    require_names(TrainConfig(model="own-net", imports=(own_module,)))
    assert own_module not in sys.modules
    with pytest.raises(InputError, match=r"There is no model 'own-net'.* Your own models need --imports\."):
        require_names(TrainConfig(model="own-net"))
    with pytest.raises(InputError, match=r"There is no data set 'own-set'.* of your own registers need --imports\."):
        require_names(TrainConfig(data="own-set"))
    with pytest.raises(InputError, match=r"--imports must name modules .* Received: own_modul\."):
        require_names(TrainConfig(imports=("own_modul",)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(own_module, tmp_path, content, reason):
    (tmp_path / f"{own_module}.py").write_text(content)
    with pytest.raises(InputError) as caught:
        import_modules([own_module])
    assert f"Received: {own_module} ({reason}" in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "{run}", "image.png"),
        ("evaluate", "{run}"),
        ("export", "{run}"),
        ("import", "weights.npz", "--model", "lnn", "--output", "imported"),
        ("list", "data"),
        ("study", "small.yaml"),
    ],
)
def test_every_command_takes_modules(own_module, tmp_path, monkeypatch, capsys, arguments):
    run = save_run(tmp_path / "run", ())
    keras.utils.save_img(tmp_path / "image.png", keras.ops.zeros((8, 8, 1)))
    (tmp_path / "weights.npz").touch()
    (tmp_path / "small.yaml").write_text("title: small\ndata: [own-set]\nnetworks: {own-net: {}}\n")
    command = [part.format(run=run) for part in arguments]
    monkeypatch.setattr(sys, "argv", ["program", *command, "--imports", "no_such_module"])
    with pytest.raises(SystemExit) as caught:
        run_main(program.main)
    assert caught.value.code == 2
    reported = capsys.readouterr().err
    assert "--imports must name modules that can be imported. Received: no_such_module" in reported
    assert reported.count("\n") == 1


def test_models_registered_by_a_module_are_listed(own_module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", "list", "data", "--imports", own_module])
    with pytest.raises(SystemExit):
        run_main(program.main)
    assert "own-set" in capsys.readouterr().out


def test_a_run_imports_its_modules_and_a_model_file_does_not(own_module, tmp_path):
    run = save_run(tmp_path / "run", (own_module,))
    load_model(run / "best.keras")
    assert own_module not in sys.modules
    load_predictor(run)
    assert own_module in sys.modules
    (run / "config.yaml").write_text("imports: [")
    load_predictor(run)


def test_a_layer_that_no_module_has_brought_is_named_with_the_remedy(tmp_path, own_module):
    @keras.saving.register_keras_serializable(package="keras_lnn_test")
    class Own(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    run = save_run(tmp_path / "run", ())
    inputs = keras.Input((8, 8, 1))
    signature = load_predictor(run).signature
    save_keras(keras.Model(inputs, Own()(inputs)), signature, run / "best.keras")
    keras.saving.get_custom_objects().pop("keras_lnn_test>Own")
    with pytest.raises(InputError, match=r"with Own\. Name the module that defines it with --imports"):
        load_predictor(run)


def test_other_modules_do_not_make_another_run(own_module, tmp_path):
    config = TrainConfig(run_dir=tmp_path, imports=())
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert is_run_of(tmp_path, config.model_copy(update={"imports": (own_module,)}))
    # A run whose module is not here any more is still known, and so not removed.
    (tmp_path / "config.yaml").write_text(config.model_copy(update={"imports": ("gone",)}).to_yaml())
    assert is_run_of(tmp_path, config)


def test_a_study_remembers_the_modules_of_its_file_and_of_its_options(own_module, tmp_path):
    declared = {"title": "small", "data": ["own-set"], "seeds": 1, "networks": {"own-net": {"imports": "one,two"}}}
    study = Study.model_validate(declared)
    command = StudyCommand(study="small.yaml", study_dir=tmp_path, imports=(own_module,))
    runs, folder = _lay_out(study, command)
    assert runs[0].config.imports == ("one", "two", own_module)
    remember(folder, runs)
    later, _ = _lay_out(study, command.model_copy(update={"imports": ()}))
    assert later == runs
    assert set(yaml.safe_load((tmp_path / "imports.json").read_text())) == {"one", "two", own_module}
