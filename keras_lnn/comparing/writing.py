"""Writing a comparison to a folder, in whole files only, and printing it on the terminal."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_lnn.comparing.comparison import Comparison
from keras_lnn.comparing.sampling import describe_sampling
from keras_lnn.comparing.words import (
    describe_all,
    describe_cautions,
    describe_folds,
    describe_labels,
    describe_questions,
    describe_reference,
    describe_summary,
)
from keras_lnn.evaluation.metrics import metric_label
from keras_lnn.files.atomic import without_nan, writing_to
from keras_lnn.files.csv_tables import to_csv
from keras_lnn.files.written import OTHER_FOLDER, WrittenFiles
from keras_lnn.statistics.texts import interval
from keras_lnn.terminal import loading, print_sampling

_MOST_SENTENCES = 6


def write_comparison(comparison: Comparison, folder: str | os.PathLike, console: Console) -> dict[str, Path]:
    """Writes the page, the tables and the figures.

    Args:
        comparison: The result of ``compare``.
        folder: The output folder; files of an earlier comparison are replaced, other files are not.
        console: Console on which progress is shown.

    Returns:
        The paths of the written files, by what they hold.
    """
    from keras_lnn.comparing.page import comparison_page
    from keras_lnn.comparing.pictures import draw_all
    from keras_lnn.plots.style import save_figure

    folder = Path(folder)
    written = {"page": folder / "comparison.html", "models": folder / "comparison.csv"}
    written |= {"pairs": folder / "pairs.csv", "pictures": folder / "plots"}
    if comparison.label_pairs:
        written["labels"] = folder / "label_pairs.csv"
    further = comparison.sampling_tables() | comparison.fold_tables()
    written |= {name.replace("_", " "): folder / f"{name}.csv" for name in further}
    files = WrittenFiles(folder, OTHER_FOLDER)
    if not written["page"].exists():  # otherwise a comparison of an older version may be there, which kept no list
        files.require_free(written.values())
    with writing_to(folder):
        with loading(console, "drawing"):
            figures = draw_all(comparison)
            with files.write(written["pictures"]) as temporary:
                temporary.mkdir()
                for name, figure in figures.items():
                    save_figure(figure, temporary / f"{name}.png")
        files.write_text(written["models"], to_csv(comparison.models_table()))
        files.write_text(written["pairs"], to_csv(comparison.pairs_table()))
        if comparison.label_pairs:
            files.write_text(written["labels"], to_csv(comparison.label_pairs_table()))
        for name, table in further.items():
            files.write_text(folder / f"{name}.csv", to_csv(table))
        # The page is written last, so that its presence implies that of all other files.
        files.write_text(written["page"], comparison_page(comparison, figures, folder))
    return written


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the cautions, a table of the models, and what the data show in words."""
    for text in describe_cautions(comparison):
        console.print(Text.assemble(("warning: ", "bold yellow"), text))
    example = comparison.example
    title = f"{example.config.data}, {example.samples:,} {example.split} samples, means with 95% intervals over "
    title += str(example.basis)
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("model", overflow="fold")
    shown = [name for name in comparison.headline if name in comparison.metrics]
    for name in ("seeds", *map(metric_label, shown), "parameters", "seconds"):
        table.add_column(name, justify="right")
    for model in comparison.models:
        cells = [interval(model.metrics[name]) for name in shown]
        cells += [f"{model.runs[0].parameters:,}", f"{model.seconds:,.1f}"]
        table.add_row(Text(model.name), str(model.seeds), *cells)
    console.print(table)
    if len(comparison.models) > 2:
        console.print(describe_reference(comparison))
    if comparison.over_folds is not None:
        over_folds, of_all = describe_questions(comparison)
        console.print(Text(over_folds, style="bold"))
        for sentence in describe_folds(comparison)[:_MOST_SENTENCES]:
            console.print(f"- {sentence}")
        console.print(Text(of_all, style="bold"))
    for metric, sentences in describe_all(comparison).items():
        console.print(Text(describe_summary(comparison, metric), style="bold"))
        for sentence in sentences[:_MOST_SENTENCES]:
            console.print(f"- {sentence}")
        if len(sentences) > _MOST_SENTENCES:
            console.print(f"- {len(sentences) - _MOST_SENTENCES} more in the page")
    for sentence in describe_labels(comparison)[:_MOST_SENTENCES]:
        console.print(sentence)
    if comparison.sampling is not None:
        print_sampling(console, without_nan(comparison.sampling.to_dict("records")), example.leading)
        for sentence in describe_sampling(comparison.sampling_differences):
            console.print(f"- {sentence}")
