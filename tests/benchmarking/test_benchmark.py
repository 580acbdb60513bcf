"""The benchmark of a model: what is measured of each export, its own process, and the files that it leaves."""

import csv
import json

import numpy as np
import psutil
import pytest
from quick_predictors import Brightness, make_signature

from benchmarks.runtimes import RuntimesCommand, tabulate, write_table
from keras_lnn.benchmarking.fidelity import Fidelity
from keras_lnn.benchmarking.running import FLOAT32, Benchmark, Measured, list_jobs
from keras_lnn.benchmarking.timing import find_peak_memory, load_samples, pick_in_turn, save_samples, time_repeatedly
from keras_lnn.benchmarking.writing import benchmark_table, write_benchmark
from keras_lnn.cli.benchmark import BenchmarkCommand, run_benchmark
from keras_lnn.cli.parsing import parse_command
from keras_lnn.data.arrays import SeriesArray
from keras_lnn.errors import InputError
from keras_lnn.statistics import Estimate
from keras_lnn.statistics.paired_tests import Difference


def make_measured(format, precision, latency, loss):
    timing = {"first_seconds": 1.5, "latency_ms": latency, "latency_p95_ms": 2 * latency, "repeats": 200}
    timing |= {"samples_per_second": 1234.0, "batch": 64, "memory_mib": 210.0}
    difference = Difference(loss, loss - 0.01, loss + 0.01, 0.005, 77.0, 0.5)
    estimates = Estimate(0.9, 0.85, 0.94), Estimate(0.9 - loss, 0.84, 0.93)
    return Measured(format, precision, 0.25, timing, Fidelity("auc", *estimates, difference, 0.01, 0.03, "78 images"))


@pytest.fixture
def found():
    rows = (make_measured("keras", FLOAT32, 4.0, 0.0), make_measured("onnx", "int8", 0.5, 0.004))
    return Benchmark(Brightness("no", "yes").signature, "78 images", "A <fast> processor", 2, rows, ("a <note>",))


def test_a_benchmark_is_written_as_table_numbers_page_and_picture(found, tmp_path):
    written = write_benchmark(found, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in written.values()}
    with open(written["table"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["format"], row["precision"]) for row in rows] == [("keras", "float32"), ("onnx", "int8")]
    assert (rows[1]["auc"], rows[1]["loss"], rows[1]["latency_ms"], rows[1]["batch"]) == ("0.896", "0.004", "0.5", "64")
    content = json.loads(written["numbers"].read_text())
    assert (content["processor"], content["threads"], len(content["rows"])) == ("A <fast> processor", 2, 2)
    page = written["page"].read_text()
    for text in (
        "A &lt;fast&gt; processor",
        "a &lt;note&gt;",
        "onnx int8",
        "+.004",
        "−.006 to +.014",
        "data:image/png",
    ):
        assert text in page
    assert benchmark_table(found).rows[1][3] == "0.50\np95 1.00"


def test_the_published_table_says_how_it_was_made(found, tmp_path):
    command = RuntimesCommand(runs="somewhere/cnn-1", hardware="two cores", csv=tmp_path / "runtimes.csv")
    write_table(tabulate(found), command, [found], tmp_path / "runtimes.csv")
    lines = (tmp_path / "runtimes.csv").read_text().splitlines()
    facts = dict(line.removeprefix("# ").split(": ", 1) for line in lines if line.startswith("# "))
    assert {"title", "command", "protocol", "seeds", "hardware"} <= set(facts)
    assert facts["command"] == "python benchmarks/runtimes.py --runs runs/cnn-1"
    assert facts["hardware"] == "two cores; A <fast> processor, 2 threads"
    rows = list(csv.DictReader(line for line in lines if not line.startswith("# ")))
    assert rows[1]["model, format, precision"].endswith(", int8")
    assert (rows[1]["one sample (ms)"], rows[1]["loss"]) == ("0.50", "0.0040")


def test_each_format_is_measured_in_the_precisions_that_it_has():
    jobs = list_jobs(["keras", "onnx", "openvino"], [FLOAT32, "float16", "int8"])
    assert jobs == [
        ("keras", FLOAT32),
        *(("onnx", precision) for precision in (FLOAT32, "float16", "int8")),
        *(("openvino", precision) for precision in (FLOAT32, "float16", "int8")),
    ]


def test_images_and_series_come_back_from_their_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    save_samples(images, tmp_path / "images.npz")
    np.testing.assert_array_equal(load_samples(tmp_path / "images.npz"), images)
    series = SeriesArray.join([images[:3], images[3:]], [np.arange(3.0), np.array([0.0, 2.5])], "days", 4).take([1, 0])
    save_samples(series, tmp_path / "series.npz")
    read = load_samples(tmp_path / "series.npz")
    np.testing.assert_array_equal(read[:], series[:])
    np.testing.assert_array_equal(read.times(), series.times())
    assert (read.unit, read.steps) == ("days", 4)


def test_batches_follow_each_other_and_begin_again():
    batches = pick_in_turn(np.arange(5), 2)
    assert [next(batches).tolist() for _ in range(4)] == [[0, 1], [2, 3], [4, 0], [1, 2]]


def test_calls_are_timed_after_a_few_that_do_not_count():
    calls = []
    assert len(time_repeatedly(lambda: calls.append(1), 60.0, 20)) == 20
    assert len(calls) == 23
    assert len(time_repeatedly(lambda: None, 0.0, 20)) == 10


def test_the_peak_memory_holds_what_was_used_and_given_back():
    used = np.ones(2**23)
    held = psutil.Process().memory_info().rss
    del used
    assert 0.99 * held < find_peak_memory() < 100 * held


def test_wrong_names_are_refused_before_anything_is_loaded(tmp_path):
    for option, text in (("--formats", "onxx"), ("--quantize", "int4")):
        command = parse_command(BenchmarkCommand, ["nowhere", option, text], "keras-lnn benchmark")
        with pytest.raises(InputError, match=rf"{option} takes .*\. Received: {text}\."):
            run_benchmark(command)
    command = parse_command(BenchmarkCommand, [str(tmp_path / "nowhere")], "keras-lnn benchmark")
    with pytest.raises(InputError, match="does not exist"):
        run_benchmark(command)


def test_only_a_model_with_layers_is_measured(tmp_path):
    (tmp_path / "keras_lnn.json").write_text(json.dumps(make_signature().to_json()))
    (tmp_path / "model.onnx").touch()
    command = parse_command(BenchmarkCommand, [str(tmp_path)], "keras-lnn benchmark")
    with pytest.raises(InputError, match=r"needs a run or a \.keras file\. Received: .*, an ONNX file"):
        run_benchmark(command)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "unet", "lnn-series"])
def test_images_masks_and_series_are_measured_in_processes_of_their_own(model, tmp_path):
    from keras_lnn import TrainConfig, train

    data = {"cnn": "phantom-breast", "unet": "phantom-liver", "lnn-series": "phantom-perfusion"}[model]
    train(TrainConfig(model=model, data=data, epochs=1, export="none", run_dir=tmp_path / "run"))
    arguments = [
        str(tmp_path / "run"),
        "--formats",
        "keras,onnx,litert,openvino",
        "--quantize",
        "float32,int8",
        "--samples",
        "24",
    ]
    run_benchmark(
        parse_command(BenchmarkCommand, [*arguments, "--output", str(tmp_path / "out")], "keras-lnn benchmark")
    )
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    rows = {(row["format"], row["precision"]): row for row in content["rows"]}
    expected = {
        ("keras", "float32"),
        ("onnx", "float32"),
        ("onnx", "int8"),
        ("litert", "float32"),
        ("openvino", "int8"),
    }
    assert expected <= set(rows)
    assert rows["onnx", "float32"]["largest_difference"] < 1e-4
    assert rows["onnx", "float32"]["memory_mib"] < rows["keras", "float32"]["memory_mib"]
    # A tenth of a MiB has so few weights that the ranges of its values take as much.
    most = 1.05 if model == "lnn-series" else 0.5
    assert rows["onnx", "int8"]["size_mib"] < most * rows["onnx", "float32"]["size_mib"]
