"""A served model of volumes: the real command, asked over HTTP for NIfTI files and folders of DICOM slices."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving_samples import Running, dicom, nifti

from keras_lnn.config import TrainConfig
from keras_lnn.saved.image_predictions import predict_files
from keras_lnn.saved.predictor import load_predictor

ROOT = Path(__file__).parents[2]
SIDE = 28


def draw(seed, brightness):
    generator = np.random.default_rng(seed)
    return (generator.integers(0, 60, (SIDE, SIDE, SIDE)) + brightness).astype(np.uint8)


def make_slices(volume):
    """DICOM files of the slices of a volume, under names in another order."""
    return {
        f"study/{(7 * place) % len(volume):02d}.dcm": dicom(
            SIDE,
            SIDE,
            pixels=values.tobytes(),
            SeriesInstanceUID="1.2.7",
            ImagePositionPatient=[0, 0, place],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[1, 1],
        )
        for place, values in enumerate(volume)
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from keras_lnn import train

    folder = tmp_path_factory.mktemp("volumes")
    for name, brightness in (("dark", 10), ("bright", 150)):
        (folder / "own" / name).mkdir(parents=True)
        for place in range(20):
            (folder / "own" / name / f"{place}.nii").write_bytes(nifti(draw(place + brightness, brightness)))
    train(TrainConfig(model="lnn", data=f"folder:{folder / 'own'}", epochs=1, export="none", run_dir=folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def served(run):
    call = [sys.executable, "-m", "keras_lnn", "serve", str(run), "--port", "0", "--check-likeness", "--parallel", "1"]
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = []
            while not (found := re.search(r"serving .* at http://127\.0\.0\.1:(\d+)/", "".join(said))):
                said.append(process.stdout.readline())
                assert said[-1], "".join(said)
            yield Running(int(found[1]), Path(os.devnull), None)
        finally:
            process.terminate()


@pytest.mark.slow
def test_volumes_and_their_likeness_are_those_of_the_command_line(run, served, tmp_path):
    from keras_lnn.trained.learned_features import learn_to_compare

    files = {"a.nii": nifti(draw(1, 10)), "b.nii": nifti(np.zeros((30, 20, 24), np.uint8))} | make_slices(draw(2, 150))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    predictor = load_predictor(run)
    paths = [tmp_path / name for name in ("a.nii", "b.nii", "study")]
    table = predict_files(predictor, paths, compare=learn_to_compare(run, predictor)[1])
    answer = served.post(files, picture="true", map="true")
    assert answer.status == 200, answer.body
    assert [each["name"] for each in answer.json["predictions"]] == ["a.nii", "b.nii", "study"]
    for row, each in zip(table.to_dict("records"), answer.json["predictions"], strict=True):
        expected = {name: row[f"probability {name}"] for name in ("dark", "bright")}
        assert each["probabilities"] == pytest.approx(expected, abs=1e-5)
        assert each["decision"] == row["predicted"]
        assert each["likeness"] == pytest.approx(row["likeness"], abs=1e-9)
        assert base64.b64decode(each["picture"]["data"]).startswith(b"\x89PNG")
        assert each["map"]["target"] == each["decision"]
    assert "every pixel has the same value" in answer.json["predictions"][1]["warnings"][0]


@pytest.mark.slow
def test_what_is_no_volume_is_refused_by_a_model_of_volumes(served):
    slices = make_slices(draw(3, 10))
    alone = dict([next(iter(slices.items()))])
    flat = {"flat.nii": nifti(draw(4, 10)[0])}
    for files in (alone, flat):
        answer = served.post(files)
        assert answer.status == 422, answer.body
        assert "\n" not in answer.json["error"]
        assert "/tmp" not in answer.json["error"]
    whole = served.post(slices | flat, skip_bad="true")
    assert whole.status == 200, whole.body
    assert [each["name"] for each in whole.json["predictions"]] == ["study"]
    assert "flat.nii" in whole.json["warnings"][0]
