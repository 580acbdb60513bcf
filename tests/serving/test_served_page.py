"""The page of a served model: in a browser by mouse and by keyboard alone, and what it is made of."""

import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import SCHEMES, WIDTHS, measure_contrast, start_browser
from quick_predictors import Brightness, BrightPixels
from serving_samples import noise, png, run_server

from keras_lnn.serving import server as serving
from keras_lnn.serving.limits import Limits
from keras_lnn.serving.readers import Readers
from keras_lnn.serving.service import Service

PAGE = Path(serving.__file__).parent / "page"
HOSTILE = "<img src=x onerror=alert(1)>.png"


class Parts(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_holds_what_its_script_asks_for_and_every_field_has_a_label():
    page, script, style = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.html", "page.js", "page.css"))
    found = Parts(page).found
    ids = {attributes["id"] for _, attributes in found if "id" in attributes}
    assert set(re.findall(r'part\("([\w-]+)"\)', script)) <= ids
    labelled = {attributes["for"] for tag, attributes in found if tag == "label"}
    assert {attributes["id"] for tag, attributes in found if tag == "input"} == labelled
    assert ("p", {"id": "status", "role": "status", "aria-live": "polite"}) in found
    # What the policy of the page forbids: code and style within the page, and code made of text.
    assert not any(name.startswith("on") or name == "style" for _, attributes in found for name in attributes)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", script)
    assert [attributes for tag, attributes in found if tag == "script"] == [{"src": "page.js", "defer": None}]
    assert "url(" not in style
    assert "outline: none" not in style


@pytest.fixture(scope="module")
def readers():
    found = Readers(Limits(), 1)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def browser():
    with start_browser() as found:
        yield found


@pytest.fixture
def opened(browser):
    """A page that reports what it requests and complains of; nothing but its own server can be reached."""
    context = browser.new_context(viewport={"width": 800, "height": 900})
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (page.complaints.append("a dialog opened"), dialog.dismiss()))

    def open_at(port):
        def route(request):
            own = request.request.url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:"))
            page.complaints.extend([] if own else [request.request.url])
            return request.continue_() if own else request.abort()

        page.route("**/*", route)
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#about:not(:empty)")
        return page

    yield open_at
    context.close()


def drop(page, files):
    """Drops files on the page, as a hand does."""
    given = [{"name": name, "bytes": list(content)} for name, content in files.items()]
    transfer = page.evaluate_handle(
        """(given) => {
            const transfer = new DataTransfer();
            for (const {name, bytes} of given)
                transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
            return transfer;
        }""",
        given,
    )
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": transfer})
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})


@pytest.mark.slow
def test_a_file_is_dropped_and_its_answer_read(opened, readers):
    service = Service(Brightness("<b>dark</b>", "bright"), "sum", Limits(), readers)
    with run_server(service) as running:
        page = opened(running.port)
        assert "Not for diagnosis" in page.inner_text("#notice")
        drop(page, {HOSTILE: png(noise())})
        page.wait_for_selector("article")
        assert page.inner_text("article h2") == HOSTILE
        assert "Probabilities, not calibrated" in page.inner_text("article table")
        assert page.locator("article tbody tr").count() == 2
        assert "is predicted, probability" in page.inner_text("#status")
        assert page.locator("article img").count() == 2
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert measure_contrast(page) > 7
        drop(page, {"a.png": png(noise()), "notes.txt": b"text", "b.png": png(noise(2))})
        page.wait_for_selector("#results .caution")
        assert page.locator("article").count() == 2
        drop(page, {"notes.txt": b"text"})
        page.wait_for_selector("#error p")
        assert "none of PNG" in page.inner_text("#error")
        # The browser itself reports the refusal of that file.
        assert [text for text in page.complaints if "415" not in text] == []


@pytest.mark.slow
def test_the_page_is_used_by_keyboard_alone(opened, readers, tmp_path):
    (tmp_path / "scan.png").write_bytes(png(noise()))
    with run_server(Service(BrightPixels(), "masks", Limits(), readers)) as running:
        page = opened(running.port)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(tmp_path / "scan.png")
        page.wait_for_selector("article")
        seen = []
        for _ in range(3):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.id"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") in ("solid", "auto")
        assert seen == ["folder", "predict", ""]
        page.evaluate("document.getElementById('results').replaceChildren()")
        page.focus("#predict")
        page.keyboard.press("Enter")
        page.wait_for_selector("article")
        assert "a mask is predicted" in page.inner_text("#status")
        assert "bright: " in page.inner_text(".legend")
        assert page.complaints == []


class Held(Brightness):
    """Predicts nothing before it is let go."""

    def __init__(self):
        super().__init__("dark", "bright")
        self.go = threading.Event()

    def predict(self, images):
        self.go.wait(60)
        return super().predict(images)


@pytest.mark.slow
def test_a_prediction_is_stopped_and_the_next_one_is_made(opened, readers):
    predictor = Held()
    with run_server(Service(predictor, "held", Limits(parallel=1), readers)) as running:
        page = opened(running.port)
        assert not page.is_visible("#stop")
        drop(page, {"a.png": png(noise())})
        page.click("#stop")
        assert page.inner_text("#status") == "Stopped."
        page.wait_for_selector("#stop", state="hidden")
        assert page.evaluate("document.activeElement.id") == "predict"
        predictor.go.set()
        page.keyboard.press("Enter")
        page.wait_for_selector("article")
        assert page.complaints == []
