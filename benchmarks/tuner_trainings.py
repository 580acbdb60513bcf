"""Trains every point of three small search spaces once, so that ``benchmarks/tuners.py`` can replay searches of them.

python benchmarks/tuner_trainings.py --search dnn-breastmnist --csv benchmarks/tuner_trainings.csv

Each row of the file is one training of one of the package's own networks, with its validation AUC after each epoch.
The rows of a search that the file already has are kept, so that the same command continues an interrupted one. Only
what a network is made of is built anew: learning rates and batch sizes share its compiled functions and begin from the
same weights.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pydantic

from keras_lnn.cli.parsing import parse_command, run_main
from keras_lnn.files.atomic import write_text
from keras_lnn.terminal import make_console

EPOCHS = 9  # a power of 3, so that Hyperband has whole rounds
_LEARNING_RATES = (0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01)
_BATCH_SIZES = (16, 64, 256)
_OPTIMIZERS = ("adam", "rmsprop", "sgd")
# Model, data and the values of the model's own argument, by the name of the search.
SEARCHES: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
    "dnn-breastmnist": ("dnn", "breastmnist", "units", (32, 128, 512)),
    "cnn-breastmnist": ("cnn", "breastmnist", "filters", (4, 2)),
    "dnn-phantom-breast": ("dnn", "phantom-breast", "units", (32, 128, 512)),
}


class TrainingsCommand(pydantic.BaseModel):
    """Train every point of a small search space once."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    search: Literal["dnn-breastmnist", "cnn-breastmnist", "dnn-phantom-breast"] = pydantic.Field(
        description="search whose points are trained"
    )
    csv: Path = pydantic.Field(description="file to which the trainings are added")
    data_dir: Path | None = pydantic.Field(None, description="folder of the data files")
    hardware: str = pydantic.Field("not recorded", description="the machine, for the head of the file")


def main(arguments: Sequence[str]) -> int:
    """Trains the points that the file lacks and adds them."""
    command = parse_command(TrainingsCommand, arguments, "benchmarks/tuner_trainings.py")
    rows = pd.read_csv(command.csv, comment="#").to_dict("records") if command.csv.is_file() else []
    known = {tuple(row[name] for name in ("search", "units", "optimizer")) for row in rows}
    console = make_console()
    for size, optimizer in itertools.product(SEARCHES[command.search][3], _OPTIMIZERS):
        if (command.search, size, optimizer) in known:
            continue
        rows += train_points(command.search, size, optimizer, command.data_dir)
        write_trainings(rows, command)
        console.print(f"{command.search}: {size} units or filters, {optimizer}")
    return 0


def train_points(search: str, size: int, optimizer: str, data_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Yields one row per learning rate and batch size of a network and an optimizer.

    Args:
        search: Name of the search.
        size: Value of the model's own argument.
        optimizer: Name of the optimizer.
        data_dir: Folder of the data files.
    """
    import keras

    from keras_lnn.data import load_data
    from keras_lnn.registry import build_model

    model, data, argument, _ = SEARCHES[search]
    images = load_data(data, data_dir=data_dir)
    keras.utils.set_random_seed(0)
    network = build_model(model, images.image_shape, 1, **{argument: size})
    rule = keras.optimizers.get(optimizer)
    rule.build(network.trainable_variables)
    variables = [*network.variables, *rule.variables]
    begun = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    train_epoch = make_epoch(network, rule, images.splits["train"])
    for rate, batch in itertools.product(_LEARNING_RATES, _BATCH_SIZES):
        for variable, value in zip(variables, begun, strict=True):
            variable.assign(value)
        rule.learning_rate = rate
        row = {"search": search, "units": size, "optimizer": optimizer, "learning_rate": rate, "batch_size": batch}
        yield row | train_point(network, train_epoch, images.splits, batch)


def make_epoch(network: Any, rule: Any, train: Any) -> Any:
    """Returns a function that trains one epoch in one call, since calls for each step would take most of the time."""
    import keras
    import tensorflow as tf

    images, labels = tf.constant(train.images, "float32"), tf.constant(train.labels[:, None], "float32")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function(input_signature=[tf.TensorSpec((None, None), "int32")])
    def train_epoch(order: Any) -> None:
        for chosen in order:
            with tf.GradientTape() as tape:
                value = loss(tf.gather(labels, chosen), network(tf.gather(images, chosen), training=True))
            rule.apply(tape.gradient(value, network.trainable_variables))

    return train_epoch


def train_point(network: Any, train_epoch: Any, splits: Any, batch: int) -> dict[str, float]:
    """Returns the validation AUC after each epoch of one training, 0.5 where the network gives no number."""
    from sklearn.metrics import roc_auc_score

    found = {}
    count, validation = len(splits["train"].labels), splits["val"]
    generator = np.random.default_rng(0)
    for epoch in range(1, EPOCHS + 1):
        steps = count // batch
        train_epoch(generator.permutation(count)[: steps * batch].reshape(steps, batch).astype("int32"))
        logits = np.asarray(network(validation.images.astype("float32"), training=False))[:, 0]
        usable = np.isfinite(logits).all()
        found[f"epoch_{epoch}"] = round(roc_auc_score(validation.labels, logits), 4) if usable else 0.5
    return found


def write_trainings(rows: list[dict[str, Any]], command: TrainingsCommand) -> None:
    """Writes all trainings with the lines that say how they were made."""
    head = [
        "# title: Validation AUC of every point of three small search spaces after each epoch",
        "# command: python benchmarks/tuner_trainings.py --search SEARCH, for each search",
        f"# protocol: {EPOCHS} epochs at a constant learning rate, no augmentation; units are the filters of a cnn",
        "# seeds: 0",
        f"# hardware: {command.hardware}",
    ]
    write_text(command.csv, "\n".join(head) + "\n" + pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    run_main(main)
