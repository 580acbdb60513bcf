"""Quick runs of a study: every table and picture marks them, and published figures are left out."""

import pytest
from rich.console import Console
from run_samples import binary_probabilities, make_truth, write_run

from keras_lnn.studies import pictures
from keras_lnn.studies.declaration import Study, lay_out
from keras_lnn.studies.output import write_results

NOTE = "(a quick check with 2 epochs and one seed, not comparable with published figures)"


@pytest.mark.parametrize("quick", [True, False])
def test_quick_studies_are_marked_and_omit_published_figures(tmp_path, monkeypatch, quick):
    headings = []
    monkeypatch.setattr(pictures, "set_heading", lambda figure, heading: headings.append(heading))
    published = {"breastmnist": {"lnn": {"auc": 0.889}}}
    study = Study(title="Liquid", data=["breastmnist"], seeds=1, networks={"lnn": {}}, published=published)
    (run,) = lay_out(study, tmp_path, quick=quick)
    truth = make_truth()
    write_run(run.folder, truth, binary_probabilities(truth, 1.0, 0), seed=run.config.seed)
    (run.folder / "history.csv").write_text("epoch,seconds\n1,2.0\n2,1.0\n")
    written = write_results(tmp_path, study, [run], {}, Console(quiet=True), quick=quick)
    for name in ("table.txt", "table.md", "table.tex", "study.html"):
        text = (tmp_path / name).read_text()
        assert "0.889" in text
        assert (f"Liquid {NOTE}" in text) == quick
    assert any("published figure" in heading for heading in headings) != quick
    assert len(list(written["pictures"].iterdir())) == 3
