"""What ``keras-lnn serve`` does under load: requests, hostile uploads and memory, beside a SavedModel in a loop."""

import argparse
import concurrent.futures
import contextlib
import csv
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import psutil

CLIENTS = (1, 8, 32)
_BOUNDARY = "----benchmark"
_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"
_MEBIBYTE = 2**20


def main() -> None:
    """Measures one model and prints the results, or writes them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="lnn-breastmnist", help="model to serve")
    parser.add_argument("--requests", type=int, default=2000, help="requests for each number of clients")
    parser.add_argument("--hostile", type=int, default=1000, help="hostile uploads")
    parser.add_argument("--memory-requests", type=int, default=10_000, help="requests while memory is measured")
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--hardware", default="not recorded", help="the machine, for the head of the table")
    arguments = parser.parse_args()
    images = _make_images()
    rows = [_measure_loop(arguments.model, images)]
    with _serve(arguments.model) as (process, port):
        for clients in CLIENTS:
            rows.append(_measure_requests(port, images, clients, arguments.requests))
        rows.append(_measure_hostile(port, images, arguments.hostile))
        rows += _measure_memory(process, port, images, arguments.memory_requests)
    for row in rows:
        print(json.dumps(row))
    if arguments.output is not None:
        write_table(rows, arguments)


def write_table(rows: list[dict[str, object]], arguments: argparse.Namespace) -> None:
    """Writes the rows as CSV, below the lines that say how they were measured."""
    facts = {
        "title": "A served model under load",
        "command": f"python benchmarks/serving.py --model runs/{Path(arguments.model).name}",
        "protocol": f"PNG files of 256 pixels, one per request; {arguments.requests:,} requests for each number of"
        " clients; the loop reads files and calls the SavedModel without a server; memory is measured with 8 clients",
        "seeds": "does not apply",
        "hardware": arguments.hardware,
    }
    with open(arguments.output, "w", encoding="utf-8", newline="") as stream:
        stream.writelines(f"# {name}: {text}\n" for name, text in facts.items())
        names = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _make_images(count: int = 64, side: int = 256) -> list[bytes]:
    """Returns PNG files of blurred noise."""
    from PIL import Image
    from scipy import ndimage

    random, files = np.random.default_rng(0), []
    for _ in range(count):
        pixels = ndimage.gaussian_filter(random.uniform(0, 255, (side, side)), 2)
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "png")
        files.append(stream.getvalue())
    return files


def _measure_loop(model: str, images: list[bytes], repeats: int = 300) -> dict[str, object]:
    """Returns how fast one process reads images and calls the exported SavedModel, one after another."""
    from keras_lnn.data.decode.images import read_image
    from keras_lnn.saved.predictor import KerasPredictor, load_predictor
    from keras_lnn.saved.saved_models import write

    predictor = load_predictor(model)
    height, _, channels = predictor.signature.image_shape
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        if isinstance(predictor, KerasPredictor):
            write(predictor, Path(folder), None)
            loaded = tf.saved_model.load(folder)
        else:
            from keras_lnn.saved.predictor import find_model

            loaded = tf.saved_model.load(str(find_model(model)))
        seconds = []
        for place in range(repeats):
            start = time.perf_counter()
            image = read_image(images[place % len(images)], side=height, channels=channels)
            loaded.serve(image[None])["probabilities"].numpy()
            seconds.append(time.perf_counter() - start)
    return {"what": "SavedModel in a loop"} | _summarise(seconds[5:], sum(seconds[5:]))


@contextlib.contextmanager
def _serve(model: str) -> Generator[tuple[subprocess.Popen[str], int]]:
    """Yields a server's process and its port."""
    order = [sys.executable, "-m", "keras_lnn", "serve", model, "--port", "0", "--max-upload-mb", "8"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(order, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ)
        try:
            assert process.stdout is not None  # it is a pipe
            line = next((line for line in process.stdout if line.startswith("serving ")), "")
            if not line:
                log.seek(0)
                raise SystemExit(log.read())
            yield process, int(line.partition("http://127.0.0.1:")[2].partition("/")[0])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _measure_requests(port: int, images: list[bytes], clients: int, count: int) -> dict[str, object]:
    """Returns requests per second and how long each took, with so many clients at a time."""
    _spread(port, clients, clients * 8, lambda place: images[place % len(images)])
    start = time.perf_counter()
    found = _spread(port, clients, count, lambda place: images[place % len(images)])
    seconds = time.perf_counter() - start
    if {status for status, _ in found} != {200}:
        raise SystemExit(f"Every request must be answered. Received: {sorted({status for status, _ in found})}.")
    return {"what": f"served, {clients} clients"} | _summarise([each for _, each in found], seconds)


def _measure_hostile(port: int, images: list[bytes], count: int) -> dict[str, object]:
    """Returns how hostile uploads are answered, and whether good ones still are after them."""
    sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "serving")]
    from serving_samples import hostile_uploads  # ty: ignore[import-not-found] beside the tests

    uploads = [content for content, _ in hostile_uploads().values()]
    start = time.perf_counter()
    found = _spread(port, 8, count, lambda place: uploads[place % len(uploads)])
    seconds = time.perf_counter() - start
    statuses = [status for status, _ in found]
    after = _spread(port, 1, 8, lambda place: images[place])
    row = {"what": "hostile uploads, 8 clients", "refused": sum(400 <= status < 500 for status in statuses)}
    row |= {"answered after them": sum(status == 200 for status, _ in after)}
    return row | _summarise([each for _, each in found], seconds)


def _measure_memory(
    process: subprocess.Popen[str], port: int, images: list[bytes], count: int, steps: int = 5
) -> list[dict[str, object]]:
    """Returns the resident memory of the server and of its readers, from the first requests to the last."""
    rows = []
    for step in range(steps + 1):
        if step:
            _spread(port, 8, count // steps, lambda place: images[place % len(images)])
        server = psutil.Process(process.pid)
        readers = sum(each.memory_info().rss for each in server.children(recursive=True))
        done = step * (count // steps)
        row: dict[str, object] = {"what": f"memory after {done:,} requests", "requests": done}
        memory = {"server MB": server.memory_info().rss, "readers MB": readers}
        rows.append(row | {name: round(value / _MEBIBYTE, 1) for name, value in memory.items()})
    return rows


def _spread(port: int, clients: int, count: int, choose: Callable[[int], bytes]) -> list[tuple[int, float]]:
    """Returns the status of each request and its seconds, sent by so many clients that each wait for the answer."""

    def work(first: int) -> list[tuple[int, float]]:
        found = []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for place in range(first, count, clients):
            body = _make_form(choose(place))
            start = time.perf_counter()
            try:
                connection.request("POST", "/predict", body, {"Content-Type": _TYPE})
                response = connection.getresponse()
                response.read()
                found.append((response.status, time.perf_counter() - start))
            except (OSError, http.client.HTTPException):
                found.append((0, time.perf_counter() - start))
                connection.close()
        connection.close()
        return found

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return [each for part in pool.map(work, range(clients)) for each in part]


def _make_form(content: bytes) -> bytes:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="scan.png"\r\n\r\n'
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _summarise(seconds: list[float], whole: float) -> dict[str, object]:
    return {
        "requests": len(seconds),
        "requests/s": round(len(seconds) / whole, 1),
        "median ms": round(1000 * float(np.median(seconds)), 1),
        "p95 ms": round(1000 * float(np.quantile(seconds, 0.95)), 1),
    }


if __name__ == "__main__":
    main()
