"""The files that a study leaves: results, tables, figures, a page, and one comparison per data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from keras_lnn.comparing import write_comparison
from keras_lnn.files.atomic import remove_partial_files, write_text
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.statistics.paired_tests import RESAMPLED
from keras_lnn.studies.declaration import QUICK_EPOCHS, Study, StudyRun, path_name
from keras_lnn.studies.differences import compare_networks, compare_pairs
from keras_lnn.studies.fold_results import add_pooled, pool_networks
from keras_lnn.studies.page import study_page
from keras_lnn.studies.pictures import write_pictures
from keras_lnn.studies.results import results_table, summary_table
from keras_lnn.studies.sampling import SampledNetworks, compare_sampled
from keras_lnn.studies.sampling_tables import SamplingContent
from keras_lnn.studies.tables import FORMATS, Content, print_summary
from keras_lnn.terminal import loading

_QUICK = f"a quick check with {QUICK_EPOCHS} epochs and one seed, not comparable with published figures"


def write_results(
    folder: Path,
    study: Study,
    runs: list[StudyRun],
    failures: dict[Path, str],
    console: Console,
    *,
    figures: Sequence[str] = (),
    notes: Sequence[str] = (),
    quick: bool = False,
) -> dict[str, Path]:
    """Writes results, tables, figures and one comparison per data set, and returns their paths.

    Args:
        folder: Folder of the study.
        study: The declaration.
        runs: Its runs, done or not.
        failures: Reasons of the failed runs, by their folders.
        console: Console on which the tables are printed.
        figures: Further figures that the protocol asks for.
        notes: Further notes below the tables.
        quick: Whether the runs only checked that everything runs: the title then says that they are not comparable
            with the published figures, and the plots leave those out.
    """
    remove_partial_files(folder)
    results = results_table(runs, failures)
    write_text(folder / "results.csv", to_csv(results))
    written = {"results": folder / "results.csv"}
    summary = summary_table(results, study)
    if summary.empty:
        return written
    pairs = pd.DataFrame()
    if study.folds is not None:
        summary, pairs = _measure_folds(folder, study.folds, results, summary, console)
        written |= {"all predictions": folder / "pooled.csv"} if (folder / "pooled.csv").exists() else {}
    differences, pages, sampled = _compare(folder, study, results, console)
    if not differences.empty:
        write_text(folder / "differences.csv", to_csv(differences))
        written["differences"] = folder / "differences.csv"
    write_text(folder / "summary.csv", to_csv(summary))
    shown = differences if study.reference else pd.DataFrame()
    elsewhere = study.folds is not None or not set(summary["data"]) & set(study.published)
    # Images that have splits of their own are split the same way for all seeds.
    own_splits = bool(differences.get("test", pd.Series(dtype=str)).eq(RESAMPLED).any())
    title = f"{study.title} ({_QUICK})" if quick else study.title
    content = Content(title, summary, shown, own_splits, notes, elsewhere, study.published_note)
    for suffix, write in FORMATS.items():
        write_text(folder / f"table.{suffix}", write(content))
    print_summary(console, content)
    sampling = SamplingContent(title, sampled) if sampled.data else None
    written |= _write_sampling(folder, sampling, console)
    with loading(console, "drawing"):
        fields = list(dict.fromkeys(field for run in runs for field in run.point.values))
        drawn = study.model_copy(update={"published": {}, "benchmarks": {}}) if quick else study
        means = summary_table(results, drawn)
        write_pictures(folder / "plots", drawn, results, means, figures=figures, fields=fields, sampled=sampled)
    write_text(folder / "study.html", study_page(content, results, folder, pages, sampling, pairs))
    (folder / "table.html").unlink(missing_ok=True)  # an older version has written it, and nobody would renew it
    compared = {f"compared on {data}": path for data, path in pages.items()}
    paths = {"page": folder / "study.html", "tables": folder / "table.txt", "pictures": folder / "plots"}
    return written | paths | compared


def _measure_folds(
    folder: Path, folds: int, results: pd.DataFrame, summary: pd.DataFrame, console: Console
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Writes what folds show beside their means; returns the summary with it, and the comparison of every pair."""
    with loading(console, "measuring all folds"):
        pooled = pool_networks(results, folds)
        done = results[results["status"] == "done"]
        several = [(data, rows) for data, rows in done.groupby("data", sort=False) if rows["network"].nunique() > 1]
        found = [compare_pairs(rows).assign(data=data) for data, rows in several]
    pairs = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    for name, table in (("pooled.csv", pooled), ("pairs.csv", pairs)):
        if table.empty:
            (folder / name).unlink(missing_ok=True)
        else:
            write_text(folder / name, to_csv(table))
    return add_pooled(summary, pooled), pairs


def _write_sampling(folder: Path, content: SamplingContent | None, console: Console) -> dict[str, Path]:
    """Writes the tables of the networks under other samplings and prints what they show, if there are any."""
    if content is None:
        return {}
    write_text(folder / "sampling.csv", to_csv(content.sampled.table))
    write_text(folder / "sampling_differences.csv", to_csv(content.sampled.differences))
    for suffix, write in FORMATS.items():
        write_text(folder / f"sampling.{suffix}", write(content))
    for remark in content.remarks:
        console.print(Text(remark))
    return {"sampling": folder / "sampling.txt"}


def _compare(
    folder: Path, study: Study, results: pd.DataFrame, console: Console
) -> tuple[pd.DataFrame, dict[str, Path], SampledNetworks]:
    """Returns the networks' differences from the reference, pages of comparison by data set, and other samplings."""
    found, pages, sampled = [], {}, []
    done = results[results["status"] == "done"]
    for data, rows in done.groupby("data", sort=False):
        if rows["network"].nunique() < 2:
            continue
        with loading(console, f"comparing on {data}") as progress:
            comparison, differences = compare_networks(rows, study.reference, progress)
            if study.sampling:
                comparison, under = compare_sampled(comparison, str(data), list(dict.fromkeys(rows["network"])))
                sampled.append(under)
        found.append(differences.assign(data=data))
        if comparison is not None:
            output = folder / f"comparison-{path_name(str(data))}"
            write_comparison(comparison, output, console)
            pages[str(data)] = output / "comparison.html"
    joined = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return joined, pages, SampledNetworks.join(sampled)
