"""Invalid options, names, YAML, studies, modules and lists of samples."""

import os

from hostile_files import DIGITS, add, make_pipe, write

from keras_lnn.__main__ import main as run_program
from keras_lnn.cli.evaluate import EvaluateCommand
from keras_lnn.cli.import_weights import ImportCommand
from keras_lnn.cli.parsing import parse_command
from keras_lnn.cli.study import StudyCommand
from keras_lnn.cli.train import TrainCommand
from keras_lnn.config import TrainConfig
from keras_lnn.data.augment.operations import list_operations
from keras_lnn.data.catalog import require_data
from keras_lnn.data.samples import SampleRecord
from keras_lnn.fields.values import validate
from keras_lnn.files.yaml_files import read_yaml
from keras_lnn.registry import require_model
from keras_lnn.runs.own_modules import import_modules
from keras_lnn.studies.declaration import lay_out, load_study
from keras_lnn.studies.grid import parse_assignments
from tuning.settings import SearchSettings

WHOLE = ["1e30", "-1", "nan", "inf", DIGITS, str(10**19), "1.5", "[1]", "{}", "many" * 3000]
REAL = ["nan", "inf", "-1", "1e400", "[1]", "many" * 3000]
OPTIONS = dict.fromkeys(
    ["epochs", "batch-size", "size", "restart-epochs", "stop-after", "seed", "split-seed", "early-stopping"], WHOLE
)
OPTIONS["devices"] = WHOLE
OPTIONS |= dict.fromkeys(["learning-rate", "weight-decay", "early-stopping-margin", "weight-average"], REAL)
OPTIONS |= {
    "time-budget": ["-1s", "nan", "inf", "1e400h", "", DIGITS, "10 minutes"],
    "window": ["nan,1", "1", "1,0", "1e400,1", "1,2,3", "a,b", f"{DIGITS},1", "1,nan"],
    "optimizer": ["adamm", "os.system", "x" * 10**5],
    "export": ["pickle", "../x"],
    "model-args": ["units", "{" * 10**5, "[" * 10**5, '{"a":' * 10**4 + "1" + "}" * 10**4],
    "no-such-option": ["1"],
}
for _option, _values in OPTIONS.items():
    for _value in _values:
        add("option", f"--{_option}={_value}", lambda _, o=_option, v=_value: parse_train(f"--{o}={v}"))


def parse_train(*arguments):
    return parse_command(TrainCommand, arguments, "train.py")


def add_command(family, command, *arguments):
    add(family, " ".join(arguments), lambda _: parse_command(command, arguments, "program"))


for _arguments in (["--workers", "1000000000"], ["--seeds", "0"], ["--run-timeout", "nan"], ["--memory-limit", DIGITS]):
    add_command("study option", StudyCommand, "term-paper", *_arguments)
for _arguments in (["--split", "x"], ["--map-classes", "="], ["--map-classes", '"a'], ["--size", DIGITS]):
    add_command("evaluate option", EvaluateCommand, "lnn-breastmnist", *_arguments)
for _arguments in (["--size", "1000000000000"], ["--size", "0"]):
    add_command("import option", ImportCommand, "w.npz", "--model", "lnn", "--output", "o", *_arguments)
SETTINGS = {
    "workers": [10**9, 0],
    "seeds_per_trial": [10**9],
    "trial_timeout": ["1e999"],
    "memory_limit": ["inf", DIGITS],
}
SETTINGS |= {
    "chief": ["host", "host:0", f"host:{DIGITS}", "host:²"],
    "worker_timeout": ["1s", "nan"],
    "tuner": ["guess"],
}
for _name, _values in SETTINGS.items():
    for _value in _values:
        add("search", f"{_name}={_value}", lambda _, n=_name, v=_value: validate(SearchSettings, {n: v}))
for _name in ("x" * 10**6, "..", "lnn\n", "é" * 1000):
    add("name", f"model {_name!r}", lambda _, name=_name: require_model(name))
    add("name", f"data {_name!r}", lambda _, name=_name: require_data(name))
    add("name", f"command {_name!r}", lambda _, name=_name: run_program([name]))
for _name in ("+".join(["flip"] * 2000), "+".join(["crnet"] * 20), "+" * 1000, "none+flip", "x" * 10**5, "flip+"):
    add("augmentation", f"{len(_name)} {_name}", lambda _, name=_name: list_operations(name))
for _text in ("a", "=1", "a=", "a=1 a=2", "a=1,,, =", "x" * 10**5):
    add("assignment", _text, lambda _, text=_text: parse_assignments(text, "--grid"))


def bomb(levels, width=9):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, levels)]
    return "\n".join(lines)


YAMLS = {
    "nine levels of aliases": bomb(9),
    "forty levels of aliases": bomb(40, 2),
    "an alias that holds itself": "a: &a [*a]",
    "a key that holds itself": "&a {a: *a}",
    "a hundred thousand brackets": "a: " + "[" * 10**5,
    "a hundred thousand braces": "{a: " * 10**5,
    "a long line": "a: " + "x" * 2**21,
    "many lines": "".join(f"k{k}: 1\n" for k in range(200_000)),
    "a number of 5,000 digits": f"epochs: {DIGITS}",
    "a Python object": "model: !!python/object/apply:os.abort []",
    "another tag": "model: !x y",
    "a list": "- 1\n- 2",
    "a word": "lnn",
    "not text": b"\xff\xfe\x00\x01",
    "a zero byte": b"model: a\0b",
    "a tab": "model:\n\t- a",
    "two documents": "a: 1\n---\nb: 2",
    "no end of a quote": 'model: "a',
    "an unknown alias": "model: *a",
    "a date that is none": "model: 2021-99-99",
    "base 64 that is none": "model: !!binary 'ä'",
}
for _name, _content in YAMLS.items():
    add("YAML", _name, lambda place, content=_content: read_yaml(write(place, "a.yaml", content)))
for _name in ("/dev/zero", "/dev/null/x", "/", "."):
    add("YAML", f"the file {_name}", lambda _, name=_name: read_yaml(name))
add("YAML", "a named pipe", lambda place: read_yaml(make_pipe(place, "a.yaml")))
FIELDS = {
    "model_args": [None, [], "units", 3, [1] * 10**5, {1: 2}],
    "model": [None, [], {}, 1, True],
    "data": [None, ["a"], {"a": {"a": {"a": {}}}}],
    "epochs": [1e30, 2**70, True and "yes", [3], int("0x" + "f" * 5000, 16), -(10**30)],
    "label_columns": [3, {"a": 1}, [None]],
    "run_dir": [3, [], "a\0b" * 0 or {}],
    "learning_rate": [float("nan"), float("inf"), int("0x" + "f" * 5000, 16)],
    "x" * 10**5: [1],
    "skip_bad": ["perhaps", None, 7],
}
for _name, _values in FIELDS.items():
    for _place, _value in enumerate(_values):
        add("field", f"{_name[:20]} {_place}", lambda _, n=_name, v=_value: TrainConfig.create({n: v}))
STUDIES = {
    "model_args null": "networks: {dnn: {model_args: null}}",
    "model_args a list": "networks: {dnn: {model_args: [units, 3]}}",
    "model_args of a protocol": "networks: {dnn: {}}\nprotocols: {p: {model_args: 3}}",
    "a thousand million seeds": "networks: {dnn: {}}\nseeds: 1000000000",
    "seeds beyond 64 bits": "networks: {dnn: {}}\nseeds: 1" + "0" * 100,
    "an exploding grid": "networks: {dnn: {}}\nprotocols: {p: {grid: {"
    + ", ".join(f"model_args.a{k}: [1, 2, 3, 4, 5, 6, 7, 8, 9]" for k in range(12))
    + "}}}",
    "a network that is a folder": "networks: {..: {model: dnn}}",
    "a network without a name": "networks: {'': {model: dnn}}",
    "networks null": "networks: null",
    "a network null": "networks: {dnn: null}",
    "no networks": "networks: {}",
    "networks a list": "networks: [dnn]",
    "an unknown field": "networks: {dnn: {epoch: 3}}",
    "a seed of its own": "networks: {dnn: {seed: 3}}",
    "a grid null": "networks: {dnn: {}}\nprotocols: {p: {grid: null}}",
    "a grid of nothing": "networks: {dnn: {}}\nprotocols: {p: {grid: {epochs: []}}}",
    "a grid of a word": "networks: {dnn: {}}\nprotocols: {p: {grid: {epochs: many}}}",
    "another reference": "networks: {dnn: {}}\nreference: cnn",
    "data a word": "networks: {dnn: {}}\ndata: null",
    "published a word": "networks: {dnn: {}}\npublished: yes please",
}
for _name, _content in STUDIES.items():

    def _lay_out(place, content=_content):
        return lay_out(load_study(str(write(place, "s.yaml", f"title: t\ndata: [phantom-breast]\n{content}"))), place)

    add("study", _name, _lay_out)
MODULES = {
    "a name that is none": ("..x", ""),
    "an empty name": ("", ""),
    "a module that is not there": ("not_there_at_all", ""),
    "no Python": ("broken_a", "def ("),
    "a fault of its own": ("broken_b", "1 / 0"),
    "an end": ("broken_c", "raise SystemExit(0)"),
    "zero bytes": ("broken_d", "\0"),
    "an import of what is not there": ("broken_e", "import not_there_at_all"),
}
for _name, (_module, _content) in MODULES.items():

    def _import_own(place, module=_module, content=_content):
        os.chdir(write(place, f"{module}.py", content).parent if content else place)
        import_modules([module])

    add("module", _name, _import_own)
HEAD = '"split","index","file","patient","digest","label_digest"\n'
SAMPLES = {
    "nothing": "",
    "a header alone": HEAD,
    "another split": HEAD + '"x",0,"a","","0123456789abcdef","0"\n',
    "an index of 5,000 digits": HEAD + f'"test",{DIGITS},"a","","0123456789abcdef","0"\n',
    "an index that is none": HEAD + '"test","x","a","","0123456789abcdef","0"\n',
    "a digest cut off": HEAD + '"test",0,"a","","0123","0"\n',
    "half a row": HEAD + '"test",0',
    "no end of a quote": HEAD + '"test',
    "not text": b"\xff\xfe\xfd",
}
for _name, _content in SAMPLES.items():
    add("samples", _name, lambda place, content=_content: SampleRecord.read_csv(write(place, "samples.csv", content)))
