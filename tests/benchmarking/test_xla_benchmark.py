"""The benchmark of XLA: what it shows of each network, and how it takes steps."""

from benchmarks.xla import MOST_RATIO, compare, find_slowest, tabulate


def test_each_network_is_shown_with_and_without_xla():
    begun = {"default_first_s": 3.0, "default_ms": 20.0}
    compiled = begun | {"--xla_first_s": 4.0, "--xla_ratio": 0.5}
    spared = begun | {"whole_first_s": 9.0, "whole_ratio": 8.0}
    slow = begun | {"failure": "took more than 600 s"}
    rows = [tabulate(name, found) for name, found in {"dnn": compiled, "cnn": spared, "vgg19": slow}.items()]
    assert [row["--xla / default"] for row in rows] == [0.5, "the same program", "the same program"]
    assert [row["whole step / default"] for row in rows] == [0.5, 8.0, "took more than 600 s"]
    assert [row["first step, whole (s)"] for row in rows] == [4.0, 9.0, "took more than 600 s"]
    assert "0.50 to 0.50 times as long as by default (dnn), within the promised 1.5." in find_slowest(rows)
    assert "leaves 1 network with convolutions" in find_slowest(rows)
    over = tabulate("dnn", compiled | {"--xla_ratio": MOST_RATIO + 0.1})
    assert "1.60 times as long as by default (dnn), more than the promised 1.5." in find_slowest([over])
    unknown = tabulate("dnn", {"failure": "was killed"})
    assert find_slowest([unknown]) == "Not measured: dnn."


def test_ways_take_their_steps_in_turn():
    taken = []
    results = compare({way: lambda way=way: taken.append(way) for way in ("default", "--xla")}, rounds=2)
    assert taken == ["default"] * 2 + ["--xla"] * 2 + ["default", "--xla", "--xla", "default"]
    assert set(results) == {"default_first_s", "--xla_first_s", "default_ms", "--xla_ratio", "--xla_cpu"}
