"""Writes tables of results from a study: ``python docs/make_table.py studies/series-heads docs/results/tables``.

Each data set of the study becomes ``FOLDER-DATA.csv``, and ``FOLDER-DATA-sampling.csv`` where its runs were also
measured under other samplings. The first lines of a file say how it was made; those that are not known from the study's
folder are given as options. ``findings`` of a file that is there already are kept, since a person writes them.
"""

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

# The samplings that a table shows, with the heading of each.
SAMPLINGS = {
    ("evenly", 1.0): "all frames",
    ("evenly", 0.5): "half of the frames",
    ("evenly", 0.25): "a quarter",
    ("at random", 0.5): "half, at random",
    ("at random", 0.25): "a quarter, at random",
    ("every nth", 3.0): "every third",
    ("start later", 0.5): "second half",
    ("frame rate", 2.0): "twice the frame rate",
}
METRICS = {"auc": "AUC", "accuracy": "accuracy"}


def tabulate_results(summary: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per network: its metrics with their intervals, and their differences from the reference.

    Args:
        summary: Rows of summary.csv of one data set.
        differences: Rows of differences.csv of the same.
    """
    reference = differences["reference"].iloc[0]
    by = _index(differences, "network", "metric")
    rows = []
    for one in summary.to_dict("records"):
        row = {"network": one["network"], "parameters": one["parameters"], "runs": one["runs"]}
        for metric, label in METRICS.items():
            row |= {label: _digits(one[f"{metric}_mean"]), f"{label} SD": _digits(one[f"{metric}_sd"])}
            row |= {f"{label} {end}": _digits(one[f"{metric}_{end}"]) for end in ("low", "high")}
            difference = by.get((one["network"], metric), {})
            for name, end in (("difference", ""), ("low", " low"), ("high", " high")):
                row[f"{label} less {reference}{end}"] = _digits(difference.get(name), signed=True)
        rows.append(row)
    return pd.DataFrame(rows)


def tabulate_samplings(sampled: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """Returns one row per network: the AUC of the reference, and of others the difference from it, for each sampling.

    Args:
        sampled: Rows of sampling.csv of one data set.
        differences: Rows of sampling_differences.csv of the same.
    """
    reference = differences["reference"].iloc[0]
    by = _index(differences, "model", "sampling", "amount")
    values = _index(sampled, "model", "sampling", "amount")
    rows = []
    for network in dict.fromkeys(sampled["model"]):
        row = {"network": network if network != reference else f"{network} (AUC)"}
        for (kind, amount), heading in SAMPLINGS.items():
            place = (network, kind, amount)
            if place not in values:
                continue
            own = network == reference
            one = values[place] if own else by[place]
            row[heading] = _digits(one["auc" if own else "difference"], signed=not own)
            row[f"{heading} low"] = _digits(one["auc_low" if own else "low"], signed=not own)
            row[f"{heading} high"] = _digits(one["auc_high" if own else "high"], signed=not own)
        rows.append(row)
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, file: Path, facts: Mapping[str, str]) -> None:
    """Writes a table below the lines that say how it was made; findings that the file has are kept.

    Args:
        table: The table.
        file: The file.
        facts: What the first lines say.
    """
    before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [line for line in before if line.startswith("# findings: ")]
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(
            f"{line}\n" for line in [*(f"# {name}: {text}" for name, text in facts.items() if text), *kept]
        )
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.itertuples(index=False))


def main() -> None:
    """Reads a study's folder and writes its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="folder of a study")
    parser.add_argument("output", type=Path, help="folder of the tables")
    parser.add_argument("--command", required=True, help="the command that trained it")
    parser.add_argument("--protocol", required=True, help="how networks were trained and tested")
    parser.add_argument("--hardware", required=True, help="on what")
    arguments = parser.parse_args()
    title = (arguments.study / "table.txt").read_text(encoding="utf-8").splitlines()[0]
    parts = {name: _read(arguments.study / f"{name}.csv") for name in _PARTS}
    seeds = sorted(_read(arguments.study / "results.csv")["seed"].unique())
    for data, summary in parts["summary"].groupby("data", sort=False):
        facts = {"title": f"{title}, {data}", "command": arguments.command, "protocol": arguments.protocol}
        facts |= {"seeds": f"{seeds[0]} to {seeds[-1]}"}
        fallen = [one for one in summary.to_dict("records") if one["collapsed"]]
        collapsed = ", ".join(f"{one['network']} ({one['collapsed']} of {one['runs']})" for one in fallen)
        means = "95%, of the mean over the seeds, Student's t; differences are paired"
        about = {"intervals": means, "hardware": arguments.hardware, "collapsed": collapsed}
        differences = _of(parts["differences"], data)
        write(tabulate_results(summary, differences), _file(arguments, data, ""), facts | about)
        if parts["sampling"].empty:
            continue
        table = tabulate_samplings(_of(parts["sampling"], data), _of(parts["sampling_differences"], data))
        facts["title"] += ": differences in AUC under other samplings of the test series"
        about |= {"intervals": "95%, over seeds and test series, paired", "collapsed": ""}
        write(table, _file(arguments, data, "-sampling"), facts | about)


_PARTS = ("summary", "differences", "sampling", "sampling_differences")


def _read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file) if file.exists() else pd.DataFrame()


def _index(table: pd.DataFrame, *columns: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Returns the rows of a table by their values in some columns."""
    return {tuple(row[column] for column in columns): row for row in table.to_dict("records")}


def _of(table: pd.DataFrame, data: Any) -> pd.DataFrame:
    return table[table["data"] == data]


def _file(arguments: argparse.Namespace, data: Any, ending: str) -> Path:
    return arguments.output / f"{arguments.study.name}-{data}{ending}.csv"


def _digits(value: Any, signed: bool = False) -> str:
    return "" if pd.isna(value) else f"{value:{'+' if signed else ''}.3f}"


if __name__ == "__main__":
    main()
