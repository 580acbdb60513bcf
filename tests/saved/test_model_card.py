"""The card of an exported model."""

import dataclasses
import re

import pytest
import yaml

from keras_lnn.saved.card import escape_markdown, model_card
from keras_lnn.saved.signature import Signature

SIGNATURE = Signature(
    model="lnn",
    model_args={"units": 19},
    task="binary",
    class_names=("<script>alert(1)</script>", "a|b\n# c"),
    image_shape=(28, 28, 1),
    data="folder:<b>mine</b>",
    size=28,
    checksum="sha256:0",
    licence="",
    parameters=1234,
    seed=0,
    best_epoch=3,
    trained_by="keras-lnn",
)


def test_the_card_escapes_names():
    estimate, alone = {"value": 0.9, "low": 0.8, "high": 0.95}, {"value": 0.1, "low": None, "high": None}
    metrics = {
        "test": {"auc": estimate, "expected_calibration_error": alone},
        "intervals_over": {"test": {"unit": "patients", "count": 12, "images": 40}},
        "positive_class": SIGNATURE.class_names[0],
        "warnings": ["The model predicts '<i>'."],
    }
    card = model_card(SIGNATURE, metrics, "keras")
    assert "| Task | binary; 0: &lt;script&gt;alert(1)&lt;/script&gt;, 1: a\\|b # c |" in card
    assert "\n---\n\n# lnn on folder:&lt;b&gt;mine&lt;/b&gt;\n" in card
    assert "95% intervals over 12 patients." in card
    assert "| AUC | 0.9000 | 0.8000 to 0.9500 |" in card
    assert "| expected calibration error | 0.1000 | - |" in card
    assert "<" not in card.partition("## Use")[0]


def test_markup_in_names_is_printed_as_it_is():
    written = {
        "![x](http://y)": r"!\[x\](http://y)",
        "a|b \\| `c`": r"a\|b \\\| \`c\`",
        "**d** _e_ f_g": r"\*\*d\*\* \_e\_ f_g",
        "C:\\scans \u202eh<i>": r"C:\scans \u202eh&lt;i&gt;",
        "units=4,\n# x": "units=4, # x",
    }
    assert {name: escape_markdown(name) for name in written} == written


@pytest.mark.parametrize(("task", "pipeline"), [("binary", "classification"), ("segmentation", "segmentation")])
def test_the_card_has_the_metadata_of_model_hubs(task, pipeline):
    signature = dataclasses.replace(SIGNATURE, task=task, model="mine: [1]\n---\nlicence: mit")
    start, fields, text = re.split("^---\n", model_card(signature, None, "keras"), flags=re.MULTILINE)
    found = yaml.safe_load(fields)
    assert start == ""
    assert (found["library_name"], found["license"], found["pipeline_tag"]) == ("keras", "other", f"image-{pipeline}")
    assert "mine: [1] --- licence: mit" in found["tags"]
    assert found["metrics"]
    assert text.startswith("\n# ")


def test_the_card_lists_images_and_patients_of_each_split():
    splits = {
        "train": {"images": 1200, "patients": 30, "classes": {"a": 1200}},
        "test": {"images": 20, "patients": None, "classes": {"a": 20}},
    }
    assert "| Splits | train 1,200 images of 30 patients, test 20 images |" in model_card(
        SIGNATURE, {"splits": splits}, "keras"
    )
    assert "| Splits |" not in model_card(SIGNATURE, None, "keras")


def test_metrics_at_the_threshold_are_marked():
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    metrics = {"test": {"f1": estimate, "f1_tuned": estimate}, "positive_class": "ill", "warnings": []}
    signature = dataclasses.replace(
        SIGNATURE, class_names=("ill", "well"), thresholds=(0.25, 0.75), positive_class="ill"
    )
    card = model_card(dataclasses.replace(signature, threshold_rule="0.25"), metrics, "keras")
    assert "| Thresholds | ill above 0.250; as requested |" in card
    assert "| F1 at the threshold | 0.9000 | 0.8000 to 0.9500 |" in card
    # The first versions chose by F1 and did not write it down.
    older = dataclasses.replace(SIGNATURE, task="multi-label", class_names=("a", "b"), thresholds=(0.1, 0.2))
    assert "a above 0.100, b above 0.200; chosen on validation by f1" in model_card(older, None, "keras")


def test_a_learned_scale_of_the_logits_is_reported():
    assert "| Scale of the logits | 4.38, learned: " in model_card(SIGNATURE, None, "keras", 4.375)
    assert "Scale" not in model_card(SIGNATURE, None, "keras")
