"""Studies that declare sampling: their tables, page and folder with each network under other samplings."""

import pandas as pd
import pytest
from rich.console import Console
from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.cli.study import StudyCommand, run_study
from keras_lnn.comparing.comparison import compare
from keras_lnn.comparing.runs import load_runs
from keras_lnn.data.thinning import samplings_of
from keras_lnn.errors import InputError
from keras_lnn.evaluation.sampling import SampledPredictions
from keras_lnn.runs.sampled_predictions import keep_sampled
from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.output import write_results
from keras_lnn.studies.page import study_page
from keras_lnn.studies.results import results_table, summary_table
from keras_lnn.studies.sampling import SampledNetworks, compare_sampled
from keras_lnn.studies.sampling_tables import SamplingContent
from keras_lnn.studies.tables import FORMATS, Content

STUDY = Study(
    title="Heads",
    data=["phantom-growth"],
    seeds=2,
    reference="first one",
    sampling=True,
    networks={"first one": {"model": "lnn-series"}, "frail": {"model": "lnn-series", "model_args": {"head": "last"}}},
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Returns the folder and the runs of a study: one network loses half of its signal with every sampling."""
    folder, truth = tmp_path_factory.mktemp("sampled-study"), make_truth()
    runs = lay_out(STUDY, folder)
    for run in runs:
        strength, about = 1.0, {"model": run.config.model, "model_args": run.config.model_args, "data": run.config.data}
        write_run(
            run.folder, truth, binary_probabilities(truth, strength, run.config.seed), seed=run.config.seed, **about
        )
        (run.folder / "history.csv").write_text("epoch,seconds\n1,2.0\n2,1.0\n")
        (run.folder / "best.keras").write_bytes(b"a model")
        kept = []
        for sampling in samplings_of("phantom-growth"):
            lost = run.network == "frail" and not sampling.keeps_all
            predicted = binary_probabilities(truth, 0.1 if lost else strength, run.config.seed)
            kept.append(SampledPredictions(sampling.kind, sampling.amount, 4.5, predicted))
        keep_sampled(run.folder, kept)
    return folder, runs


@pytest.fixture(scope="module")
def sampled(study):
    folder, _ = study
    compared, found = compare_sampled(compare(load_runs([folder]), "first-one"), "phantom-growth", list(STUDY.networks))
    assert compared.sampling is not None
    return found


def test_tables_have_each_network_under_each_sampling_and_its_difference(sampled):
    content = SamplingContent("Heads", sampled)
    assert content.head[:3] == ["network", "all frames", "evenly 0.75"]
    assert len(content.head) == 2 + sum(not one.keeps_all for one in samplings_of("phantom-growth"))
    values, differences = content.tables.values()
    assert list(content.tables) == ["phantom-growth, AUC", "phantom-growth, AUC minus that of first one"]
    assert [row[0] for row in differences] == ["frail"]
    cells = dict(zip(content.head, differences[0], strict=True))
    assert cells["all frames"].startswith("+0.000 (")
    assert cells["evenly 0.5"].startswith("-0.")
    assert "*" in cells["evenly 0.5"]
    (row,) = sampled.table.query("model == 'frail' and sampling == 'evenly' and amount == 0.5").to_dict("records")
    shown = next(cells for cells in values if cells[0] == "frail")[content.head.index("evenly 0.5")]
    assert shown == f"{row['auc']:.3f} ({row['auc_low']:.3f} to {row['auc_high']:.3f})"
    assert any("do not show that frail differs from first one in AUC" in text for text in content.remarks)
    for write in FORMATS.values():
        assert "first one" in write(content)


def test_the_page_has_the_tables_of_samplings(study, sampled):
    folder, runs = study
    results = results_table(runs, {})
    page = study_page(
        Content("Heads", summary_table(results, STUDY)), results, folder, sampling=SamplingContent("Heads", sampled)
    )
    assert "Under other samplings" in page
    assert "phantom-growth, AUC minus that of first one" in page


def test_runs_without_measured_samplings_are_named(study):
    folder, runs = study
    comparison = compare(load_runs([folder]))
    model = runs[0].folder / "best.keras"
    known = model.read_bytes()
    model.write_bytes(b"another model")
    _, found = compare_sampled(comparison, "phantom-growth", [])
    model.write_bytes(known)
    assert found.left_out == ("phantom-growth: not all runs could be measured under other samplings.",)
    _, found = compare_sampled(None, "phantom-growth", [])
    assert SampledNetworks.join([found, found]).left_out == found.left_out * 2


def test_data_of_images_are_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("title: a\ndata: [phantom-breast]\nsampling: true\nnetworks: {dnn: {}}\n")
    with pytest.raises(InputError, match=r"must have series of images in time\. Received: phantom-breast"):
        run_study(StudyCommand(study="own.yaml"))


@pytest.mark.slow
def test_a_study_writes_tables_of_samplings(study):
    folder, runs = study
    write_results(folder, STUDY, runs, {}, Console(quiet=True))
    assert len(pd.read_csv(folder / "sampling.csv")) == 2 * len(samplings_of("phantom-growth"))
    assert set(pd.read_csv(folder / "sampling_differences.csv")["model"]) == {"frail"}
    assert (folder / "plots" / "phantom-growth-sampling.png").is_file()
    assert (folder / "comparison-phantom-growth" / "sampling_differences.csv").is_file()
    assert (folder / "sampling.md").read_text().count("| frail |") == 2
