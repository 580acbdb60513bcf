"""Runs for the tests of pages, made without training, with names that try to break out of a page."""

import json

import numpy as np
from mask_run_samples import answer as predict_masks
from mask_run_samples import make_truth as make_masks
from mask_run_samples import write_mask_run
from PIL import Image
from rich.console import Console
from run_samples import binary_probabilities, label_probabilities, make_truth, write_run

from keras_lnn.comparing import compare, load_runs
from keras_lnn.comparing.writing import write_comparison
from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.page import study_page
from keras_lnn.studies.results import results_table, summary_table
from keras_lnn.studies.tables import Content

SCRIPT = "<script>alert(1)</script>"
QUOTES = '"\' onload="alert(2)" x=\''
LEFTWARDS = "\u202eשלום\u202d <b>"
LONG = "x" * 200
HOSTILE = (SCRIPT, QUOTES, LEFTWARDS, LONG)
PICTURES = ("history", "labels", "roc", "examples", "wiring_cfc", "unknown")


def with_details(folder, pictures=PICTURES, **changes):
    """Adds the other files of a real run: pictures, counts of images, findings on the data."""
    (folder / "plots").mkdir()
    for name in pictures:
        Image.new("RGB", (1400, 300), "white").save(folder / "plots" / f"{name}.png", dpi=(150, 150))
    metrics = json.loads((folder / "metrics.json").read_text())
    classes = dict.fromkeys(metrics["classes"], 7)
    metrics["splits"] = {name: {"images": 20, "patients": 9, "classes": classes} for name in ("train", "val", "test")}
    metrics["data_check"] = {"notes": [f"split by {QUOTES}"], "warnings": [f"{SCRIPT} is in two splits"]}
    metrics |= changes
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def write_hostile_run(parent):
    """Writes a run of two classes whose folder, files, patients and classes have hostile names."""
    truth = make_truth(60, 40)
    about = {"names": [f"{HOSTILE[row % 4]}{row}.png" for row in range(60)]}
    about |= {"groups": [f"{SCRIPT}{row // 2}" for row in range(60)], "class_names": (SCRIPT, LONG)}
    folder = parent / ("-" + QUOTES.replace("/", "") + LEFTWARDS.replace("/", ""))
    write_run(folder, truth, binary_probabilities(truth, 0.8, 1), data=f"folder:/tmp/{LONG}", **about)
    return with_details(folder)


def write_hostile_label_run(parent):
    """Writes a run of several labels with hostile names, at thresholds of its own."""
    truth = (np.random.default_rng(3).random((80, 4)) < 0.3).astype(np.uint8)
    about = {"class_names": HOSTILE, "task": "multi-label", "thresholds": (0.3, 0.4, 0.5, 0.6)}
    folder = write_run(parent / "labels", truth, label_probabilities(truth, np.array([1, 1, 1, 1]), 2), **about)
    basis = {name: {"unit": "images", "count": 80, "images": 80} for name in ("val", "test")}
    return with_details(folder, task="multi-label", intervals_over=basis)


def write_mask_page_run(parent):
    """Writes a segmentation run."""
    truth = make_masks()
    folder = write_mask_run(parent / "masks", truth, predict_masks(truth, 0.3, 1))
    return with_details(folder, ("history", "dice", "gallery", "spread"))


def write_hostile_comparison(parent):
    """Writes a comparison of three models with hostile names, and returns its page."""
    truth = make_truth(60, 40)
    for place, name in enumerate((SCRIPT, QUOTES, LONG)):
        probabilities = binary_probabilities(truth, 0.5 + place, place)
        write_run(parent / "runs" / f"{place}-{LONG}", truth, probabilities, model=name, class_names=(LEFTWARDS, LONG))
        (parent / "runs" / f"{place}-{LONG}" / "report.html").write_text("page")
    written = write_comparison(compare(load_runs([parent / "runs"])), parent / "out", Console(quiet=True))
    return written["page"]


def write_hostile_study(parent):
    """Writes the page of a study with hostile names and three runs, of which one failed and one is left."""
    networks = {name: {"model": "lnn"} for name in (f"{SCRIPT} {QUOTES}", f"{LEFTWARDS} a", LONG)}
    study = Study(title=f"{SCRIPT} {LONG}", data=["breastmnist"], seeds=1, networks=networks)
    runs = lay_out(study, parent)
    truth = make_truth(60, 40)
    write_run(runs[0].folder, truth, binary_probabilities(truth, 1.0, 0), model="lnn")
    (runs[0].folder / "history.csv").write_text("epoch,seconds\n1,2.0\n2,1.0\n")
    (runs[0].folder / "report.html").write_text("page")
    (parent / "plots").mkdir()
    Image.new("RGB", (1400, 300), "white").save(parent / "plots" / "breastmnist-seeds.png", dpi=(150, 150))
    results = results_table(runs, {runs[1].folder: f"{SCRIPT} went wrong"})
    content = Content(study.title, summary_table(results, study), notes=[f"{QUOTES} is a note"])
    comparisons = {"breastmnist": parent / "comparison-breastmnist" / "comparison.html"}
    page = parent / "study.html"
    page.write_text(study_page(content, results, parent, comparisons), encoding="utf-8")
    return page
