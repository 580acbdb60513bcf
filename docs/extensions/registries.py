"""The lists of models, data sets, losses, augmentations and studies, from the registries that the commands use."""

import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import keras_lnn
from extensions.markdown import code, prose, table
from keras_lnn.data.augment import operations
from keras_lnn.data.catalog import OTHER_SOURCES, catalog
from keras_lnn.registry import builder_arguments, get_model, model_names
from keras_lnn.studies.declaration import built_in_studies, load_study
from keras_lnn.tasks.task import PROBABILITY_LOSSES, list_losses

_LISTED = Path(keras_lnn.__file__).parent / "models" / "listed.json"


def render_models() -> str:
    """Returns one section for each family of models, with what each is, and the arguments of those that have some."""
    rows = json.loads(_LISTED.read_text(encoding="utf-8"))["models"]
    # Models of other modules, such as those of the tests, are not part of the package.
    ours = {name for name in model_names() if get_model(name).builder.__module__.startswith("keras_lnn.")}
    if {row["name"] for row in rows} != ours:
        raise ValueError("models/listed.json must list every model. Run python -m keras_lnn.cli.model_list.")
    lines = []
    for family in sorted({row["family"] for row in rows}):
        of_family = [row for row in rows if row["family"] == family]
        lines += [f"## {family[0].upper()}{family[1:]}", ""]
        cells = [(code(row["name"]), f"{row['parameters']:,}", prose(row["summary"])) for row in of_family]
        lines += [table(("model", "parameters", "what it is"), cells)]
        lines += _render_arguments([row["name"] for row in of_family])
    return "\n".join(lines)


def _render_arguments(names: list[str]) -> list[str]:
    """Returns a table of the arguments for each model, or its own defaults where another one has the same arguments."""
    lines: list[str] = []
    first: dict[tuple[str, ...], str] = {}
    for name in names:
        entry = get_model(name)
        described = _read_arguments(inspect.getdoc(entry.builder) or "")
        defaults = {key: value.default for key, value in builder_arguments(entry).items() if key in described}
        if not defaults:
            continue
        protocol = ", ".join(code(f"{key}: {value}") for key, value in entry.protocol.items())
        lines += [
            f"### {name}",
            "",
            f"Made for {code(entry.reference_data)}." + f" Protocol: {protocol}." * bool(protocol),
            "",
        ]
        same = first.setdefault(tuple(described.values()), name)
        if same == name:
            rows = [(code(key), code(default), prose(described[key])) for key, default in defaults.items()]
            lines += [table(("`--model-args`", "default", "what it does"), rows)]
            continue
        others = {key: value.default for key, value in builder_arguments(get_model(same)).items()}
        own = ", ".join(code(f"{key}={value}") for key, value in defaults.items() if others[key] != value)
        lines += [f"Arguments as {code(same)}" + f", with {own}" * bool(own) + ".", ""]
    return lines


def _read_arguments(docstring: str) -> dict[str, str]:
    """Returns what a docstring says of each argument."""
    _, _, section = docstring.partition("\nArgs:\n")
    section = section.split("\n\n")[0]
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            name, _, rest = line.strip().partition(": ")
            found[name] = rest
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def render_data() -> str:
    """Returns the data sets of the catalog, and the names of images that are not in it."""
    rows = []
    for entry in catalog().values():
        classes = ", ".join(entry.class_names) if len(entry.class_names) <= 4 else f"{len(entry.class_names)} classes"
        samples = " / ".join(f"{count:,}" for count in entry.samples.values())
        sizes = ", ".join(map(str, entry.sizes))
        rows.append((code(entry.name), prose(entry.title), entry.task, prose(classes), sizes, samples, entry.licence))
    head = ("`--data`", "what it shows", "task", "classes or labels", "sides", "train / val / test", "licence")
    others = table(("`--data`", "what"), [(code(name), prose(what)) for name, what in OTHER_SOURCES.items()])
    return f"{table(head, rows)}\n## Own images\n\n{others}"


def render_losses() -> str:
    """Returns the losses by their names for ``--loss``, and the classes of those that Keras does not have."""
    own = {"focal": "keras_lnn.losses:FocalCrossentropy", "asymmetric": "keras_lnn.losses:MultiLabelCrossentropy"}
    classes = own | PROBABILITY_LOSSES
    rows = []
    for name in list_losses():
        found = pkgutil.resolve_name(classes[name]) if name in classes else None
        summary = (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ")
        text = prose(summary) if found else "Cross-entropy, the default of most models."
        rows.append((code(name), f"`keras_lnn.losses.{found.__name__}`" if found else "Keras's own", text))
    return table(("`--loss`", "class", "what it is"), rows)


def render_augmentation() -> str:
    """Returns the operations of ``--augmentation`` and the recipes of them."""
    recipes = table(("recipe", "operations"), [(code(name), code(what)) for name, what in operations.RECIPES.items()])
    described = inspect.getdoc(operations.make_augmentation) or ""
    text = described.partition("Operations:\n")[2].partition("\n\n")[0]
    known = [name for name in operations.augmentation_names() if name not in operations.RECIPES and name != "none"]
    missing = [name for name in known if f"``{name}``" not in text]
    if missing:
        raise ValueError(f"The docstring of make_augmentation must describe {', '.join(missing)}.")
    items = " ".join(text.split()).rstrip(".").split("; ")
    return "\n".join([*(f"- {prose(item)}" for item in items), "", "## Recipes", "", recipes])


def render_studies() -> str:
    """Returns the studies that come with the package."""
    rows = []
    for name in built_in_studies():
        study: Any = load_study(name)
        data, protocols = (", ".join(map(code, names)) for names in (study.data, study.protocols))
        rows.append((code(name), prose(study.title), str(len(study.networks)), data, protocols, str(study.seed_count)))
    return table(("study", "title", "networks", "data", "protocols", "seeds"), rows)
