"""The pages in a browser: they load nothing, complain of nothing and fit every window in both colour schemes."""

import pytest
from browser import assert_sound, start_browser
from page_samples import (
    write_hostile_comparison,
    write_hostile_label_run,
    write_hostile_run,
    write_hostile_study,
    write_mask_page_run,
)

from keras_lnn.pages.run_page import write_run_page
from keras_lnn.runs.folder import RunFolder


@pytest.fixture(scope="module")
def browser():
    with start_browser() as found:
        yield found


@pytest.mark.parametrize(
    "write",
    [write_hostile_run, pytest.param(write_hostile_label_run, marks=pytest.mark.slow), write_mask_page_run],
)
def test_a_browser_shows_the_page_of_a_run(browser, write, tmp_path):
    folder = RunFolder(write(tmp_path))
    assert_sound(browser, write_run_page(folder, folder.read_metrics()))


@pytest.mark.parametrize("write", [write_hostile_comparison, write_hostile_study])
def test_a_browser_shows_the_pages_of_comparisons_and_studies(browser, write, tmp_path):
    assert_sound(browser, write(tmp_path))


def test_a_missing_browser_fails_only_where_one_is_required(monkeypatch):
    monkeypatch.setattr("browser.EXECUTABLE", None)
    monkeypatch.delenv("KERAS_LNN_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"), start_browser():
        pass
    monkeypatch.setenv("KERAS_LNN_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"), start_browser():
        pass
