"""The documentation site: built strictly, with every public name in its reference."""

import io
import warnings

import pytest
from doc_blocks import DOCS

import keras_lnn
from keras_lnn.cli.main import COMMANDS


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The application after it has built the site, what it warned of, and the folder of the pages."""
    from sphinx.application import Sphinx
    from sphinx.deprecation import RemovedInSphinx11Warning

    output = tmp_path_factory.mktemp("site")
    warned = io.StringIO()
    strict = {"nitpicky": True}
    with warnings.catch_warnings():
        # The theme and the Markdown parser still use names that the next version of Sphinx but one will not have.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        warnings.simplefilter("ignore", RemovedInSphinx11Warning)
        app = Sphinx(DOCS, DOCS, output, output / ".doctrees", "html", strict, None, warned, freshenv=True)
        app.build()
    return app, warned.getvalue(), output


def test_the_site_is_built_without_a_warning(site):
    app, warned, output = site
    assert warned == ""
    assert app.statuscode == 0
    assert (output / "index.html").is_file()


def test_every_public_name_and_command_has_its_entry(site):
    app, _, output = site
    known = app.env.domains.python_domain.objects
    missing = {f"keras_lnn.{name}" for name in keras_lnn.__all__ if name != "__version__"} - set(known)
    assert missing == set()
    page = (output / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f'id="command-{name}"' in page
    assert "--learning-rate" in page


def test_pages_load_no_external_resource(site):
    *_, output = site
    for page in output.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text, page
        assert '<link rel="stylesheet" href="http' not in text, page
