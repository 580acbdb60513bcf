"""A served model: the same predictions as on the command line, limits, and requests that mean harm."""

import base64
import concurrent.futures
import gzip
import json
import re
import socket
import time

import numpy as np
import pytest
from conftest import run_models_eagerly
from quick_predictors import Brightness, BrightPixels, LastTime, make_signature
from serving_samples import (
    BOUNDARY,
    dicom,
    hostile_uploads,
    make_form,
    nifti,
    noise,
    png,
    run_server,
)

from keras_lnn.explaining.neighbours import LearnedFeatures
from keras_lnn.registry import build_model
from keras_lnn.saved.image_predictions import predict_files
from keras_lnn.saved.mask_predictions import predict_masks
from keras_lnn.saved.predictor import load_predictor
from keras_lnn.saved.signature import save_keras
from keras_lnn.serving.limits import Limits
from keras_lnn.serving.readers import Readers
from keras_lnn.serving.service import Comparison, Service
from keras_lnn.tasks.calibration import Calibration
from keras_lnn.tasks.prediction_sets import PredictionSets
from keras_lnn.tasks.referral import Referral

LIMITS = Limits(upload_bytes=2**21, pixels=2**20, files=40, timeout_seconds=30, parallel=2)
KEYS = {"name", "probabilities", "decision", "set", "refer", "areas", "likeness", "warnings"}
KEYS |= {"picture", "map", "mask", "overlay"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved network with all that a signature can promise."""
    import tiny_models  # noqa: F401, registers its networks

    signature = make_signature(
        model="tiny-dense",
        task="binary",
        class_names=("calm", "<b>wild</b>"),
        calibration=Calibration("temperature", (0.7,)),
        thresholds=(0.55, 0.45),
        threshold_rule="youden",
        sets=PredictionSets(0.9, False, (0.4, 0.5)),
        referral=Referral(0.05, 0.6),
    )
    path = tmp_path_factory.mktemp("served") / "tiny.keras"
    save_keras(build_model("tiny-dense", (16, 16, 1), 2), signature, path)
    with pytest.MonkeyPatch.context() as patched:
        run_models_eagerly(patched)
        yield path


@pytest.fixture(scope="module")
def readers():
    """One process that reads files, for all servers here."""
    found = Readers(LIMITS, 1)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def served(model, readers):
    service = Service(load_predictor(model), "tiny", LIMITS, readers)
    with run_server(service, names=("Hospital.example",)) as running:
        yield running


def read_png(picture):
    import io

    from PIL import Image

    assert picture["type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["data"]))))


def assert_answers(served):
    answer = served.post({"scan.png": png(noise())})
    assert answer.status == 200, answer.body
    assert [each["name"] for each in answer.json["predictions"]] == ["scan.png"]
    assert list(served.folder.iterdir()) == []


def test_predictions_are_those_of_the_command_line(served, model, tmp_path):
    files = {f"{seed}.png": png(noise(seed)) for seed in range(3)}
    files |= {"scan.dcm": dicom(20, 20), "flat.nii.gz": gzip.compress(nifti(noise(4, (9, 8, 1))))}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    table = predict_files(load_predictor(model), [tmp_path / name for name in files])
    found = served.post({f"in/../{name}": content for name, content in files.items()}).json
    assert found["warnings"] == []
    assert found["notice"].startswith("Not for diagnosis")
    for row, each in zip(table.to_dict("records"), found["predictions"], strict=True):
        assert set(each) == KEYS
        assert each["name"] == f"in/../{row['file'].rpartition('/')[2]}"
        assert each["probabilities"] == pytest.approx(
            {name: row[f"probability {name}"] for name in ("calm", "<b>wild</b>")}, abs=1e-6
        )
        assert each["decision"] == row["predicted"]
        assert "|".join(each["set"]) == row["set"]
        assert each["refer"] == row["refer"]
        assert each["mask"] is each["map"] is each["areas"] is None


def test_json_gives_the_same_answer_as_a_form(served):
    content, options = png(noise(7)), {"picture": True, "map": True}
    files = [{"name": "a.png", "content": base64.b64encode(content).decode()}]
    found = served.post_json({"files": files} | options)
    form = served.post({"a.png": content}, picture="true", map="true")
    assert found.status == 200
    assert found.json == form.json
    (prediction,) = found.json["predictions"]
    assert read_png(prediction["picture"]).shape == (16, 16)
    assert read_png(prediction["map"]).shape[2] >= 3
    assert prediction["map"]["method"] == "occlusion"
    assert prediction["map"]["target"] == prediction["decision"]


def test_what_the_model_is(served):
    found = served.ask("GET", "/model").json
    assert found["classes"] == ["calm", "<b>wild</b>"]
    assert found["calibrated"] is True
    assert found["thresholds"] == {"calm": 0.55, "<b>wild</b>": 0.45}
    assert found["coverage"] == {"share": 0.9, "of_each_class": False}
    assert found["referral"]["risk"] == 0.05
    assert found["limits"]["upload_bytes"] == LIMITS.upload_bytes
    assert found["maps"] is True
    assert served.ask("GET", "/healthz").json == {"status": "ok"}


def test_every_answer_protects_its_page_and_nothing_of_it_is_foreign(served):
    answers = [served.ask("GET", path) for path in ("/", "/page.css", "/page.js", "/model", "/healthz", "/nowhere")]
    answers += [served.ask("GET", "/predict"), served.ask("GET", "/", headers={"Host": "evil.example"})]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 200, 404, 405, 421]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert not re.search(rb"(?:https?:)?//[a-z]", answer.body.replace(b"// ", b""))
    for answer in answers[5:]:
        assert set(answer.json) == {"error", "status"}
        assert answer.json["status"] == answer.status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "["}, 421),
        ({"Host": "hospital.example"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:80", "Origin": "http://[::1]:80", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_requests_of_other_sites_are_refused(served, headers, status):
    assert served.post({"a.png": png(noise())}, headers).status == status


def test_hostile_uploads_are_refused_and_leave_nothing(served):
    for name, (content, status) in hostile_uploads().items():
        answer = served.post({f"../../../etc/{name}": content})
        assert answer.status == status, (name, answer.status, answer.body)
        assert set(answer.json) == {"error", "status"}
        assert "\n" not in answer.json["error"]
        assert str(served.folder) not in answer.json["error"]
        assert list(served.folder.iterdir()) == []
    assert_answers(served)


def test_values_that_are_no_numbers_give_a_warning(served):
    values = np.full((9, 9, 1), np.nan, np.float32)
    (prediction,) = served.post({"nan.nii": nifti(values)}).json["predictions"]
    assert "every pixel has the same value" in prediction["warnings"][0]
    scaled = dicom(RescaleSlope="1.0", RescaleIntercept="0").replace(b"1.0 ", b"nan ")
    (prediction,) = served.post({"nan.dcm": scaled}).json["predictions"]
    assert "every pixel has the same value" in prediction["warnings"][0]
    assert_answers(served)


def test_bad_files_are_left_out_where_this_is_asked(served):
    files = [("good.png", png(noise())), ("notes.txt", b"text"), ("cut.png", png(noise())[:-30])]
    assert served.post(files).status == 415
    found = served.post(files, skip_bad="true").json
    assert [each["name"] for each in found["predictions"]] == ["good.png"]
    assert "notes.txt (none of PNG" in found["warnings"][0]
    assert "cut.png (truncated)" in found["warnings"][1]
    assert served.post(files[1:], skip_bad="true").status in (415, 422)


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/passwd", "C:\\x\\y.png", "a\nb\x00c\u202e.png", "<img src=x onerror=alert(1)>.png", "x" * 999],
)
def test_names_are_only_labels(served, name):
    content = base64.b64encode(png(noise())).decode()
    (prediction,) = served.post_json({"files": [{"name": name, "content": content}]}).json["predictions"]
    assert len(prediction["name"]) <= 200
    assert not set("\n\x00\u202e\\") & set(prediction["name"])


def bad_requests():
    content = base64.b64encode(png(noise())).decode()
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    whole = make_form({"a.png": png(noise())}, {})
    return {
        "no form": (b"x", {"Content-Type": "text/plain"}, 415),
        "no type": (b"x", {}, 415),
        "no boundary": (whole, {"Content-Type": "multipart/form-data"}, 400),
        "other boundary": (whole, {"Content-Type": "multipart/form-data; boundary=zzz"}, 400),
        "half a form": (whole[: len(whole) // 2], form, 400),
        "a form without its end": (make_form([("a.png", png(noise()))] * 2, {})[: len(whole) + 200], form, 400),
        "no files": (make_form({}, {}), form, 400),
        "thousands of parts": (make_form([("a", b"")] * 3000, {}), form, 413),
        "thousands of fields": (make_form([], {f"f{place}": "" for place in range(3000)}), form, 413),
        "a long field": (make_form([], {"times": "1," * 2**17}), form, 413),
        "long heads": (make_form({"a" * 2**17: b"x"}, {}), form, 400),
        "an unknown field": (make_form({"a.png": b"x"}, {"maps": "true"}), form, 400),
        "a switch": (make_form({"a.png": b"x"}, {"map": "perhaps"}), form, 400),
        "times": (make_form({"a.png": b"x"}, {"times": "1,nan"}), form, 400),
        "times for images": (make_form({"a.png": png(noise())}, {"times": "1"}), form, 422),
        "too large": (make_form({"a.png": bytes(2**21 + 1)}, {}), form, 413),
        "far too large": (make_form({"a.png": bytes(2**23)}, {}), form, 413),
        "compressed": (gzip.compress(whole), form | {"Content-Encoding": "gzip"}, 415),
        "no JSON": (b"{", {"Content-Type": "application/json"}, 400),
        "deep JSON": (b"[" * 10**6, {"Content-Type": "application/json"}, 400),
        "a list": (b"[]", {"Content-Type": "application/json"}, 400),
        "no base64": (b'{"files": [{"name": "a", "content": "%%"}]}', {"Content-Type": "application/json"}, 400),
        "a number": (b'{"files": [{"name": 1, "content": "YQ=="}]}', {"Content-Type": "application/json"}, 400),
        "many files": (
            json.dumps({"files": [{"name": "a", "content": content}] * 41}).encode(),
            {"Content-Type": "application/json"},
            413,
        ),
    }


@pytest.mark.parametrize("name", bad_requests())
def test_bad_requests_are_refused_in_one_line(served, name):
    body, headers, status = bad_requests()[name]
    answer = served.ask("POST", "/predict", body, headers)
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error", "status"}
    assert "\n" not in answer.json["error"]
    assert list(served.folder.iterdir()) == []


def test_what_is_not_http_is_refused(served):
    for sent in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"A" * 2**16):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(sent)
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert_answers(served)


def test_a_client_that_leaves_early_leaves_nothing(served):
    body = make_form({"a.png": png(noise())}, {})
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-99])
    until = time.monotonic() + 30
    while list(served.folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.01)
    assert_answers(served)


class Held(Brightness):
    """Predicts nothing before it is let go."""

    def __init__(self, *names):
        import threading

        super().__init__(*names)
        self.go = threading.Event()

    def predict(self, images):
        self.go.wait(60)
        return super().predict(images)


def test_requests_beyond_the_queue_and_those_that_take_too_long_are_refused(readers):
    predictor = Held("dark", "bright")
    service = Service(predictor, "held", Limits(timeout_seconds=2.0, parallel=1), readers)
    with run_server(service) as running, concurrent.futures.ThreadPoolExecutor(20) as pool:
        content = {"a.png": png(noise())}
        answers = list(pool.map(lambda _: running.post(content), range(20)))
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {503, 504}
        assert statuses.count(504) <= 9
        refused = next(answer for answer in answers if answer.status == 503)
        assert int(refused.headers["retry-after"]) > 0
        assert running.ask("GET", "/healthz").status == 200
        predictor.go.set()
        until = time.monotonic() + 60
        while running.post(content).status == 504:
            assert time.monotonic() < until
        assert list(running.folder.iterdir()) == []


@pytest.mark.slow
def test_a_reader_that_ends_is_replaced(served, readers):
    readers._readers[0]._process.kill()
    readers._readers[0]._process.wait()
    assert_answers(served)


def test_masks_are_those_of_the_command_line(readers, tmp_path):
    service = Service(BrightPixels(), "masks", LIMITS, readers)
    values = noise(3, (9, 8, 1)).astype(np.float32)
    files = {"a.png": png(noise(1)), "b.nii": nifti(values)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    table = predict_masks(BrightPixels(), [tmp_path / name for name in files], tmp_path / "out", overlay=True)
    with run_server(service) as running:
        found = running.post(files).json["predictions"]
        for row, each in zip(table.to_dict("records"), found, strict=True):
            assert set(each) == KEYS
            assert each["probabilities"] is None
            assert each["areas"]["bright"]["pixels"] == row["pixels bright"]
        path = tmp_path / "out" / "a.png"
        assert base64.b64decode(found[0]["mask"]["data"]) == path.read_bytes()
        assert read_png(found[0]["overlay"]).shape == (20, 24, 3)
        assert found[1]["mask"]["type"] == "application/x-nifti"
        assert base64.b64decode(found[1]["mask"]["data"]) == (tmp_path / "out" / "b.nii").read_bytes()
        refused = running.post({"a.png": files["a.png"]}, map="true")
        assert refused.status == 422
        assert "A map needs a run" in refused.json["error"]


def test_series_are_read_from_frames_with_times(readers):
    service = Service(LastTime(), "series", LIMITS, readers)
    with run_server(service) as running:
        frames = {f"s/{place}.png": png(np.full((5, 5), 10 * place + 5, np.uint8)) for place in range(3)}
        found = running.post(frames, times="0, 1, 20").json
        (prediction,) = found["predictions"]
        assert prediction["probabilities"]["bright"] == pytest.approx(0.2 + 0.025)
        missing = running.post(frames)
        assert missing.status == 422
        assert "Send the time of each file as times, or a table with columns" in missing.json["error"]
        assert running.post(frames, times="0,1").status == 422


def test_a_request_that_comes_too_slowly_is_refused(readers):
    service = Service(Brightness("dark", "bright"), "slow", Limits(timeout_seconds=0.2), readers)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    with run_server(service) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
            connection.sendall(f"{head}Content-Length: 99\r\n\r\n--".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert list(running.folder.iterdir()) == []


def test_likeness_is_compared_and_unlike_samples_are_named(readers):
    learned = LearnedFeatures(
        np.eye(1, 3, dtype=np.float32), np.arange(1), ["a"], ["dark"], None, np.linspace(0, 1, 99)
    )
    comparison = Comparison(learned, lambda images: np.array([0.01, 0.5])[: len(images)])
    service = Service(Brightness("dark", "bright"), "alike", LIMITS, readers, comparison)
    with run_server(service) as running:
        found = running.post({"far.png": png(noise()), "near.png": png(noise(1))}).json
    assert [each["likeness"] for each in found["predictions"]] == [0.01, 0.5]
    assert "1 of 2 images are unlike" in found["warnings"][0]
    assert found["warnings"][0].endswith("far.png")
