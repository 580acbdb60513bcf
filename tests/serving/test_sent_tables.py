"""Tables of series that are sent with their images mean what they mean on the command line."""

from typing import Any

import numpy as np
import pytest
from quick_predictors import LastTime
from serving_samples import png

from keras_lnn.saved.own_samples import read_own_samples
from keras_lnn.serving.limits import Refused
from keras_lnn.serving.reading import load_samples, read_upload

SIGNATURE = LastTime().signature
FRAMES = {
    name: png(np.full((5, 5), value, np.uint8))
    for value, name in enumerate(("a/1.png", "a/2.png", "b/first.png", "b/second.png", "b/third.png"), 40)
}
TABLE = b"""patient;image;time_hours

A;a/2.png;2
A;a/1.png;0.5
B;b/first;1
B;second.png;1.25
B;b\\third.png;4
"""


def read_sent(folder, files, skip_bad=False, times=None) -> Any:
    folder.mkdir()
    for number, content in enumerate(files.values()):
        (folder / f"upload-{number}").write_bytes(content)
    names = [f"upload-{number}" for number in range(len(files))]
    order = {"files": names, "labels": list(files), "skip_bad": skip_bad, "times": times}
    return read_upload(folder, order, SIGNATURE, 2**20), load_samples(folder)


@pytest.mark.parametrize("above", ["", "visits/"])
def test_a_sent_table_is_read_as_on_the_command_line(tmp_path, above):
    table = TABLE.replace(b"B;b/first;", b"B;b/first.png;")
    files = {f"{above}{name}": content for name, content in (FRAMES | {"table.csv": table}).items()}
    for name, content in files.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_bytes(content)
    said: list[str] = []
    read: Any = read_own_samples(SIGNATURE, [tmp_path / "own" / above / "table.csv"], warn=said.append)
    expected, names = read
    found, samples = read_sent(tmp_path / "sent", files)
    assert found["names"] == names == ["A", "B"]
    assert found["warnings"] == said
    assert "1 series is not listed in the order of time, and is sorted: A" in said
    np.testing.assert_array_equal(samples[:], expected[:])
    np.testing.assert_allclose(samples.times(), expected.times())
    np.testing.assert_allclose(samples.times()[0, :2], [0, 90])


def test_files_that_a_table_does_not_name_and_rows_without_files_are_said(tmp_path):
    table = TABLE.replace(b"a/2.png", b"a/none.png").replace(b"b/first", b"first.png")
    files = FRAMES | {"table.tsv": table}
    with pytest.raises(Refused, match=r"must be sent and readable\. Received: table\.tsv with a/none\.png \(line 3\)"):
        read_sent(tmp_path / "strict", files)
    found, samples = read_sent(tmp_path / "lenient", files, skip_bad=True)
    assert found["warnings"][:2] == [
        "left out rows of table.tsv whose files were not sent or not readable: a/none.png (line 3)",
        "left out files that no table names: a/2.png",
    ]
    assert samples.lengths.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("changes", "times", "message"),
    [
        ({"table.csv": b"image,time_hours\na/1.png,2\n"}, None, "must have a column that names the series"),
        ({"table.csv": TABLE.replace(b";0.5", b";soon")}, None, r"soon.*line 4"),
        ({"table.csv": TABLE.replace(b"a/2.png", b"../../etc/passwd")}, None, "Name files as they are sent"),
        ({"table.csv": TABLE.replace(b"a/2.png", b"/etc/passwd")}, None, r"with /etc/passwd \(line 3\)"),
        ({"table.csv": TABLE}, (1.0,) * 5, "without times. Received: times too"),
        ({"table.csv": b"\xff\xfe"}, None, "UTF"),
    ],
)
def test_tables_that_mean_nothing_are_refused_in_words_of_a_request(tmp_path, changes, times, message):
    table = changes["table.csv"].replace(b"b/first;", b"first.png;")
    with pytest.raises(Refused, match=message) as found:
        read_sent(tmp_path / "sent", FRAMES | {"table.csv": table}, times=times)
    assert "--" not in found.value.message
    assert str(tmp_path) not in found.value.message


def test_a_table_alone_is_refused(tmp_path):
    with pytest.raises(Refused, match="Received: a table alone"):
        read_sent(tmp_path / "sent", {"table.csv": TABLE})
