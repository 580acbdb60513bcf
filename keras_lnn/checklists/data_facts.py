"""What a run has recorded of its data: their source, how they were read and how they were divided."""

from __future__ import annotations

import collections

from keras_lnn.checklists.described_run import DescribedRun
from keras_lnn.data.catalog import TFDS, split_own
from keras_lnn.errors import InputError
from keras_lnn.fields.values import parse_fold
from keras_lnn.pages.rendering import Table
from keras_lnn.pages.run_tables import splits_table
from keras_lnn.saved.results import split_in_words

# How own files become pixels and series, as fields of a configuration.
_READING = ("size", "fit", "window", "frame", "mask_threshold")
_READING_OF_SERIES = ("label_of", "steps_along", "time_unit", "max_steps")


def describe_data(run: DescribedRun) -> list[str]:
    """Returns the name, the source, the checksum and the licence of the data."""
    source = split_own(run.config.data)[0].summary if run.has_own_data else run.data_title
    return [*run.name("Trained on"), *([f"Source: {source}"] if source else []), *run.name("Licence of the data")]


def describe_selection(run: DescribedRun) -> list[str]:
    """Returns what was decided when the data were read."""
    if "data_check" in run.metrics:
        notes = run.metrics["data_check"]["notes"]
        return [f"When the files were read: {note}" for note in notes] or ["All files were read as they are."]
    return [] if run.has_own_data else ["The data set was read as it is; the program left nothing out."]


def describe_missing(run: DescribedRun) -> list[str]:
    """Returns what was done about files that cannot be read, and faults that were found in the data."""
    if not run.has_own_data:
        found = ["The data set was read as it is; no sample was left out."]
    elif run.config.skip_bad:
        found = ["Missing and unreadable files were left out."]
    else:
        found = ["No file was missing or unreadable: it would have stopped the run."]
    faults = run.metrics.get("data_check", {}).get("warnings", [])
    return found + [f"Found in the data: {fault}" for fault in faults]


def describe_labels(run: DescribedRun) -> list[str]:
    """Returns where the program read the truth, and how masks name their classes."""
    found = [f"Classes: {', '.join(run.metrics['classes'])}"]
    if run.config.label_columns:
        found.append(f"Columns of the labels: {', '.join(run.config.label_columns)}")
    return found + run.name("Colours of the classes", "Values of the classes in masks")


def describe_preprocessing(run: DescribedRun) -> list[str]:
    """Returns how files become what the model reads."""
    names = (*_READING, *_READING_OF_SERIES) if run.samples == "series" else _READING
    options = {name: getattr(run.config, name) for name in names} if run.has_own_data else {"size": run.config.size}
    read = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items() if value is not None)
    return [*run.name("Input", "Times"), *([f"How images were read: {read}"] if read else [])]


def describe_input(run: DescribedRun) -> list[str]:
    """Returns what the model reads."""
    return run.name("Input", "Times")


def show_splits(run: DescribedRun) -> list[str | Table]:
    """Returns the samples and patients of each split and class."""
    table = splits_table(run.metrics)
    return [] if table is None else [table]


def describe_assignment(run: DescribedRun) -> list[str]:
    """Returns how samples came into their splits."""
    config, seed = run.config, run.config.seed_of_splits
    if config.fold is not None:
        fold, folds = parse_fold(config.fold)
        found = (
            f"Cross-validation: samples were dealt to {folds} folds by seed {seed}, by patient where known; fold {fold}"
            " is the test split, the next fold validates and the others train."
        )
    elif run.has_own_data or config.data.startswith(TFDS):
        found = (
            "Splits that the data give were kept; missing ones were split off at random, with the classes in equal"
            f" shares, by patient where known, with seed {seed}."
        )
    else:
        found = "The splits are those of the data set."
    is_listed = run.folder.samples.is_file()
    return [found, *(["samples.csv in the run's folder lists the split of every sample."] if is_listed else [])]


def describe_separation(run: DescribedRun) -> list[str]:
    """Returns at which level the splits are disjoint, as far as it is known."""
    splits = run.metrics.get("splits")
    if not splits:
        return []
    if any(split["patients"] is None for split in splits.values()):
        return [f"The program does not know the patients: it kept single {run.samples} apart."]
    counts = ", ".join(f"{split['patients']:,} {split_in_words(name)}" for name, split in splits.items())
    return [f"Patients are known ({counts}). {_describe_shared_patients(run)}"]


def _describe_shared_patients(run: DescribedRun) -> str:
    """Returns a sentence on the patients in more than one split, who are counted in the list of the samples."""
    try:
        record = run.folder.read_samples()
    except InputError:
        record = None
    if record is None or record.groups is None:
        return "Whether any of them is in two splits is not recorded."
    splits = collections.Counter(group for group, _ in set(zip(record.groups, record.splits, strict=True)))
    shared = sum(count > 1 for count in splits.values())
    return f"{shared:,} of them are in more than one split." if shared else "None of them is in more than one split."


def describe_test_size(run: DescribedRun) -> list[str]:
    """Returns the number of samples and patients that were tested."""
    if run.split != "test":
        return ["The run was not tested."]
    basis = run.metrics.get("intervals_over", {}).get("test")
    if basis is None:
        return []
    patients = f" of {basis['count']:,} patients" if basis["unit"] == "patients" else ""
    return [f"Tested on {basis['images']:,} {run.samples}{patients}."]
