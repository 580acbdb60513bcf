"""A browser for the tests of pages: what it loads, reports and measures."""

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path

import pytest

# Where this is 1, tests that need a browser fail without one instead of being skipped.
REQUIRED = "KERAS_LNN_REQUIRE_BROWSER"
EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Containers give little shared memory, and root may not use the sandbox.
OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
WIDTHS = (360, 800, 1400)
SCHEMES = ("light", "dark")
# The text that stands nearest to the right end of the window, if any, for the message of a failing test.
_WIDEST = """() => {
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll("main *")].filter(
        (part) => !part.parentElement.closest(".scroll") && part.getBoundingClientRect().right > width + 1);
    return wide.map((part) => `${part.tagName}.${part.className}: ${part.textContent.trim().slice(0, 60)}`).slice(0, 3);
}"""


@dataclasses.dataclass
class Opened:
    """A page that is open in the browser.

    Args:
        page: Playwright's page.
        requests: The addresses of everything that was requested, the page itself first.
        complaints: Errors and warnings of the console.
    """

    page: object
    requests: list
    complaints: list


@contextlib.contextmanager
def start_browser():
    """Yields a browser; skips the tests that ask for it where none is installed, unless one is required."""
    if EXECUTABLE is None:
        refuse = pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip
        refuse("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def open_page(browser, path, width=800, scheme="light"):
    """Yields a page that was loaded from its file."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    opened = Opened(page, [], [])
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (opened.complaints.append("a dialog opened"), dialog.dismiss()))
    page.goto(Path(path).resolve().as_uri())
    try:
        yield opened
    finally:
        context.close()


def assert_sound(browser, path):
    """Checks that a page loads nothing, complains of nothing and is never wider than its window.

    Only tables and pictures may be wider, which scroll by themselves.
    """
    with open_page(browser, path, WIDTHS[0], SCHEMES[0]) as opened:
        for scheme in SCHEMES:
            opened.page.emulate_media(color_scheme=scheme)
            for width in WIDTHS:
                opened.page.set_viewport_size({"width": width, "height": 900})
                found = opened.page.evaluate("document.documentElement.scrollWidth")
                assert found <= width, f"{width} px, {scheme}: {opened.page.evaluate(_WIDEST)}"
            assert [url for url in opened.requests if not url.startswith("data:")] == [Path(path).resolve().as_uri()]
            assert opened.complaints == []
            assert measure_contrast(opened.page) > 7


def measure_contrast(page):
    """Returns the contrast of text and page, as WCAG defines it."""
    light = []
    for name in ("color", "backgroundColor"):
        colour = page.evaluate(f"getComputedStyle(document.body).{name}")
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(light) / min(light)
