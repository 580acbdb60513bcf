"""Downloads from a real server on this machine: a complete file, or one line and no file."""

import hashlib
import http.server
import threading
from typing import Any

import pytest

from keras_lnn.data.catalog import get_entry
from keras_lnn.data.sources.download import download
from keras_lnn.data.sources.medmnist import load_medmnist
from keras_lnn.errors import InputError

CONTENT = bytes(range(256)) * 9000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    requests = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_GET(self):
        self.server.requests += 1
        kind = self.path.strip("/")
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "busy" and self.server.requests < 3:
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        cut = kind == "cut" or (kind == "cut-once" and self.server.requests == 1)
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if cut else CONTENT)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, kind, path, md5=MD5, **options):
    download(
        f"{server.url}/{kind}",
        path,
        md5=md5,
        remedy="Use a phantom.",
        pause_seconds=0.01,
        timeout_seconds=600,
        **options,
    )


def test_a_file_arrives_with_progress(server, tmp_path):
    fractions = []
    fetch(server, "whole", tmp_path / "new" / "file.npz", progress=fractions.append)
    assert (tmp_path / "new" / "file.npz").read_bytes() == CONTENT
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize(("kind", "requests"), [("cut-once", 2), ("busy", 3)])
def test_broken_connections_are_tried_again(server, tmp_path, kind, requests):
    fetch(server, kind, tmp_path / "file.npz")
    assert (tmp_path / "file.npz").read_bytes() == CONTENT
    assert server.requests == requests


@pytest.mark.parametrize(
    ("kind", "md5", "requests", "message"),
    [
        ("missing", MD5, 1, "the server replied 404 Not Found"),
        ("cut", MD5, 3, "the connection ended after"),
        ("whole", "0" * 32, 3, f"its checksum is {MD5}, not 000"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_no_file(server, tmp_path, kind, md5, requests, message):
    with pytest.raises(InputError, match=message) as caught:
        fetch(server, kind, tmp_path / "new" / "file.npz", md5)
    text = str(caught.value)
    assert f"{server.url}/{kind}" in text
    assert str(tmp_path) in text
    assert text.endswith("Use a phantom.")
    assert "\n" not in text
    assert list(tmp_path.iterdir()) == []
    assert server.requests == requests


def test_an_offline_download_suggests_the_phantom_data(tmp_path, monkeypatch):
    import dataclasses

    entry = get_entry("adrenalmnist3d")
    offline = dataclasses.replace(entry, sources={28: ("http://127.0.0.1:9/adrenal.npz", "0" * 32)})
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/adrenal\.npz cannot be downloaded .*phantom-vessel"):
        load_medmnist(offline, 28, tmp_path)
    assert list(tmp_path.iterdir()) == []
