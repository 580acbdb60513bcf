"""The pages in a browser: they load nothing, complain of nothing and fit every window in both colour schemes."""

import pytest
from browser import assert_sound, start_browser
from page_samples import write_hostile_label_run, write_hostile_run, write_mask_page_run

from keras_lnn.pages.run_page import write_run_page
from keras_lnn.runs.folder import RunFolder


@pytest.fixture(scope="module")
def browser():
    with start_browser() as found:
        yield found


@pytest.mark.parametrize("write", [write_hostile_run, write_hostile_label_run, write_mask_page_run])
def test_the_page_of_a_run(browser, write, tmp_path):
    folder = RunFolder(write(tmp_path))
    assert_sound(browser, write_run_page(folder, folder.read_metrics()))
