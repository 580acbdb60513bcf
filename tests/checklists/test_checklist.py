"""Reporting checklists: their items as data, what runs of each kind answer, and what is left to a person."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mask_run_samples import answer, write_mask_run
from mask_run_samples import make_truth as make_masks
from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.checklists.described_run import DescribedRun
from keras_lnn.checklists.facts import FACTS
from keras_lnn.checklists.guidelines import list_guidelines, read_guideline
from keras_lnn.checklists.writing import checklist, write_checklist
from keras_lnn.cli.main import main
from keras_lnn.errors import InputError

PREVIOUS = Path(__file__).parents[1] / "previous"
TRIPOD = "1 2 3a-c 4 5a-b 6a-c 7 8a-c 9a-c 10 11 12a-g 13 14 15 16 17 18a-f 19 20a-c 21 22 23a-b 24 25 26 27a-c"


def spell_parts(text):
    """The numbers of items with their parts, such as 3a, 3b, 3c for 3a-c."""
    for part in text.split():
        number, first, last = re.fullmatch(r"(\d+)(?:(a)-(\w))?", part).groups()
        yield from [number] if first is None else [number + chr(letter) for letter in range(ord(first), ord(last) + 1)]


def read_items(text):
    """The lines below each item of one guideline, by its number."""
    items, number = {}, None
    for line in text.partition("## Tables")[0].splitlines():
        found = re.match(r"\*\*(\w+)\.\*\* ", line)
        number = found[1] if found else None if line.startswith("#") else number
        if found:
            items[number] = []
        elif number and line:
            items[number].append(line)
    return items


def fill_in(folder, name="claim"):
    return checklist(DescribedRun.read(folder), [read_guideline(name)])


def test_items_have_the_numbers_of_their_guidelines():
    assert list_guidelines() == ["claim", "tripod-ai"]
    assert [item.number for item in read_guideline("claim").items] == [str(number) for number in range(1, 45)]
    assert [item.number for item in read_guideline("tripod-ai").items] == list(spell_parts(TRIPOD))


@pytest.mark.parametrize("name", list_guidelines())
def test_each_item_has_a_text_and_facts_or_a_task_for_a_person(name):
    for item in read_guideline(name).items:
        assert item.text.endswith("."), item
        assert item.section, item
        assert item.facts or item.person, item
        assert not item.person or item.person.endswith("."), item
        assert set(item.facts) <= FACTS.keys(), item


def test_each_fact_answers_an_item():
    used = {name for guideline in list_guidelines() for item in read_guideline(guideline).items for name in item.facts}
    assert used == FACTS.keys()


@pytest.mark.parametrize("run", ["finished", "masks", "own-images"])
def test_each_item_is_answered_or_marked_for_runs_of_the_previous_version(run):
    guidelines = [read_guideline(name) for name in list_guidelines()]
    text = checklist(DescribedRun.read(PREVIOUS / run), guidelines)
    for guideline, part in zip(guidelines, re.split("^## ", text, flags=re.MULTILINE)[1:], strict=False):
        items = read_items(part)
        assert list(items) == [item.number for item in guideline.items]
        for number, lines in items.items():
            assert lines, number
            assert all(line.startswith("- ") for line in lines), number
            unknown = [line for line in lines if line.endswith(": *not recorded*")]
            assert not unknown or lines[-1].startswith("- [ ] **To write:** "), number


def test_what_an_older_version_has_not_recorded_is_said_and_left_to_a_person():
    items = read_items(fill_in(PREVIOUS / "finished"))
    assert "- Splits: *not recorded*" in items["19"]
    assert items["19"][-1] == "- [ ] **To write:** Add what the run has not recorded."
    assert items["20"][0] == "- Separation: *not recorded*"
    assert "keras 3.15.1" in items["23"][0]


def test_facts_are_those_of_the_run():
    text = fill_in(PREVIOUS / "own-images")
    items = read_items(text)
    assert "None of them is in more than one split." in items["20"][0]
    assert "- [ ]" not in "".join(items["19"] + items["23"] + items["24"])
    assert any("AUC .250; 95% interval .010 to .927" in line for line in items["37"])
    metrics = json.loads((PREVIOUS / "own-images" / "metrics.json").read_text())
    assert {f"- Warning: {warning}" for warning in metrics["warnings"]} == set(items["40"][:-1])
    assert "| ill | 9 (50.0%) | 1 (50.0%) | 2 (50.0%) |" in text
    assert "| 03.png | P1 | ill | well | 0.500 |" in text


def test_patients_in_two_splits_are_counted(tmp_path):
    run = shutil.copytree(PREVIOUS / "own-images", tmp_path / "run")
    samples = pd.read_csv(run / "samples.csv", dtype=str)
    patient = next(column for column in samples if column in ("patient", "group"))
    samples.loc[samples["split"] == "val", patient] = samples.loc[samples["split"] == "train", patient].iloc[0]
    samples.to_csv(run / "samples.csv", index=False)
    assert "1 of them are in more than one split." in read_items(fill_in(run))["20"][0]


def test_masks_are_described_as_masks(tmp_path):
    truth = make_masks()
    items = read_items(fill_in(write_mask_run(tmp_path / "masks", truth, answer(truth, 0.3, 1))))
    assert any(line.startswith("- Dice ") for line in items["37"])
    assert "resampled" in items["29"][1]
    assert "- Tested on 24 images of 8 patients." in items["21"]
    assert any(line.startswith("- Output: masks for the classes background, liver") for line in items["22"])


def test_series_are_called_series(tmp_path):
    truth = make_truth(40, 20)
    run = write_run(tmp_path / "run", truth, binary_probabilities(truth, 1, 1), data="series:x.csv", max_steps=7)
    metrics = json.loads((run / "metrics.json").read_text())
    basis = {"unit": "series", "count": 40, "images": 40, "samples": "series"}
    (run / "metrics.json").write_text(json.dumps(metrics | {"intervals_over": {"test": basis}}))
    items = read_items(fill_in(run))
    assert "- Tested on 40 series." in items["21"]
    assert any("max steps 7" in line for line in items["9"])
    assert any("series of own images in time" in line for line in items["7"])


def test_names_from_files_are_plain_text(tmp_path):
    truth = make_truth(40, 20)
    names = ("![x](http://example.org)", "a|b\n# c `d` **e** \u202e<script>")
    run = tmp_path / "<b> [run](x)"
    files = [f"| {names[row % 2]} {row}.png" for row in range(40)]
    write_run(run, truth, binary_probabilities(truth, 0.1, 1), class_names=names, names=files, data="folder:/tmp/<i>")
    text = fill_in(run)
    assert text.startswith("# Reporting checklist of &lt;b&gt; \\[run\\](x)\n")
    assert "- Classes: !\\[x\\](http://example.org), a\\|b # c \\`d\\` \\*\\*e\\*\\* \\u202e&lt;script&gt;\n" in text
    assert not {"![", "<", "\u202e"} & {text[place : place + size] for place in range(len(text)) for size in (1, 2)}
    cases = [line for line in text.splitlines() if line.startswith("| \\| ")]
    assert len(cases) == 10
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in cases)


def test_measurements_in_the_folder_of_the_run_are_described(tmp_path):
    run = shutil.copytree(PREVIOUS / "own-images", tmp_path / "run")
    items = read_items(fill_in(run))
    assert "--subgroups" in items["38"][-2]
    assert "--corruptions" in items["30"][0]
    blank = {"difference": None, "p": None, "note": ""}
    rows = [{"column": "sex", "group": name, "samples": 40, "metric": "auc", **blank} for name in ("f", "m")]
    rows[0] |= {"difference": 0.2, "p": 0.001, "corrected_p": 0.001}
    rows.append({"column": "sex", "group": "", "samples": 3, "metric": "", **blank, "note": "without a value"})
    pd.DataFrame(rows).to_csv(run / "subgroups.csv", index=False)
    losses = [
        {"corruption": kind, "strength": 1, "relative_loss": loss} for kind, loss in {"blur": 0.25, "noise": 0}.items()
    ]
    (run / "corruptions").mkdir()
    pd.DataFrame(losses).to_csv(run / "corruptions" / "corruptions.csv", index=False)
    items = read_items(fill_in(run))
    assert (
        "- Groups in subgroups.csv in the run's folder: sex f (40 samples), m (40 samples), - (3 samples)"
        in items["38"]
    )
    assert any("sex f differs from the others" in line for line in items["38"])
    assert items["30"][0].startswith("- Corruptions cost 12.5% of the AUC")
    (run / "subgroups.csv").write_bytes(b"\xff\x00")
    assert "- subgroups.csv is there, but cannot be read." in read_items(fill_in(run))["38"]


def test_a_run_of_a_fold_gives_the_outcome_of_its_cross_validation(tmp_path):
    truth = make_truth(40, 20)
    run = write_run(tmp_path / "folds" / "fold-2", truth, binary_probabilities(truth, 1, 1), fold="2/5")
    assert "are not beside it" in read_items(fill_in(run))["30"][1]
    (run.parent / "folds.yaml").write_text("folds: 5\n")
    mean = {"auc": {"value": 0.75, "low": 0.7, "high": 0.8, "sd": 0.1}}
    found = {"model": "lnn", "data": "breastmnist", "folds": 5, "repeats": 1, "task": "binary", "mean": mean}
    (run.parent / "folds.json").write_text(json.dumps(found))
    items = read_items(fill_in(run))
    expected = "lnn on breastmnist, 5 folds: AUC .750 on average over 5 folds; 95% interval .700 to .800"
    assert items["30"][1] == f"- Cross-validation: {expected}"
    assert "fold 2 is the test split" in items["19"][0]


def test_the_command_writes_both_guidelines_or_one(tmp_path, capsys):
    run = shutil.copytree(PREVIOUS / "finished", tmp_path / "run")
    assert main(["checklist", str(run)]) == 0
    text = (run / "checklist.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["CLAIM 2024", "TRIPOD+AI", "Tables"]
    assert str(run / "checklist.md") in capsys.readouterr().out.replace("\n", "")
    assert main(["checklist", str(run), "--guideline", "claim", "--output", str(tmp_path / "claim.md")]) == 0
    assert "TRIPOD" not in (tmp_path / "claim.md").read_text(encoding="utf-8").partition("## CLAIM")[2]


def test_a_checklist_that_a_person_has_filled_in_is_not_replaced(tmp_path):
    run = shutil.copytree(PREVIOUS / "finished", tmp_path / "run")
    path = write_checklist(run)
    assert write_checklist(run) == path
    path.write_text(path.read_text(encoding="utf-8") + "Approved by the committee.", encoding="utf-8")
    with pytest.raises(InputError, match=r"unchanged since are replaced\. Received: .*checklist\.md.* Choose another"):
        write_checklist(run)


def test_a_run_that_is_not_complete_is_refused():
    with pytest.raises(InputError, match=r"a complete run\. Received: .*stopped.* Complete it with train --resume"):
        DescribedRun.read(PREVIOUS / "stopped")
    with pytest.raises(InputError, match="A run must be a folder"):
        DescribedRun.read(PREVIOUS / "none")


def test_a_run_without_its_model_names_what_its_configuration_knows(tmp_path):
    truth = make_truth(40, 20)
    run = write_run(tmp_path / "run", truth, np.tile([0.3, 0.7], (40, 1)), parameters=7)
    items = read_items(fill_in(run))
    assert items["22"][0] == "- Model: lnn, 7 trainable parameters"
    assert "- Input: *not recorded*" in items["22"]
    assert any("collapsed" in line for line in items["40"])


def test_a_run_that_was_not_tested_says_so(tmp_path):
    truth = make_truth(40, 20)
    items = read_items(fill_in(write_run(tmp_path / "run", truth, binary_probabilities(truth, 1, 1), test=False)))
    assert "- The run was not tested." in items["21"]
    assert "on the validation split only" in items["32"][0]
