"""The page and the files of explanations."""

import keras
import numpy as np
import pandas as pd
import pytest
from explanation_samples import make_explained, make_signature
from page_samples import HOSTILE, LONG, SCRIPT
from test_run_page import Reader

from keras_lnn.errors import InputError
from keras_lnn.explaining.checked_maps import CheckedMethod, MapCheck
from keras_lnn.explaining.compared import LearnedComparison
from keras_lnn.explaining.likeness import Likeness
from keras_lnn.explaining.maps import describe_method
from keras_lnn.explaining.neighbours import Neighbours
from keras_lnn.pages.explanation_files import PICTURED, file_stem, write_explanations
from keras_lnn.pages.explanation_page import FILES, LIMITS, PagePart, SampleSection, explanation_page
from keras_lnn.pages.explanation_parts import check_part, check_table
from keras_lnn.pages.rendering import Picture, Table
from keras_lnn.saved.predictor import KerasPredictor
from keras_lnn.statistics import Estimate

PICTURE = Picture("data:image/png;base64,", 400, "what it shows")


def read(explained, **changes):
    sections = [SampleSection(each, PICTURE) for each in explained]
    return explanation_page(
        make_signature(), explained, changes.pop("sections", sections), **{"about_neurons": ""} | changes
    )


def test_names_of_files_and_classes_are_only_text():
    every = [make_explained(name, predicted=name, target=SCRIPT, truth=LONG) for name in HOSTILE]
    page = read(every, cautions=[SCRIPT], about_neurons=SCRIPT)
    assert "<script" not in page
    assert not any(name.startswith("on") for _, attributes in Reader(page).tags for name in attributes)


def test_a_sample_shows_what_is_predicted_what_is_explained_and_what_is_true():
    page = read([make_explained(target="b", target_probability=0.25, truth="b", why="worst")])
    text = " ".join(Reader(page).text.split())
    for part in ("a, probability .750", "b, probability .250", "Truth b", "a.png (worst)", "Not for diagnosis"):
        assert part in text
    assert "Explained" not in Reader(read([make_explained()])).text


def test_maps_stand_above_the_long_text_on_them_and_below_a_short_legend():
    text = Reader(read([make_explained()], about_neurons="on the neurons")).text
    order = ["Not for diagnosis", "The cross marks the strongest point", "a.png", "How to read the maps"]
    order += [LIMITS[0], "on the neurons", describe_method("grad-cam")[:20], "All maps in numbers"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert text.count("The cross marks") == 1


def test_neighbours_cautions_and_measures_have_their_places():
    each = make_explained()
    section = SampleSection(each, PICTURE, neighbours=[PICTURE], cautions=["unlike all that was learned"])
    part = PagePart("check", "How true the maps are", ["a sentence"], [Table("a table", ["x"], [["1"]])], [PICTURE])
    page = read([each], sections=[section], parts=[part])
    text = Reader(page).text
    for words in ("Nearest training images", "unlike all that was learned", "How true the maps are", "a table"):
        assert words in text
    assert 'href="#check"' in page
    assert "Nearest training" not in read([each])


@pytest.fixture(scope="module")
def predictor():
    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)), name="plain")
    return KerasPredictor(model, make_signature())


def write(predictor, explained, folder, **about):
    images = np.stack([each.image for each in explained])
    return write_explanations(
        predictor, explained, folder, images=images, reference=images, reference_is="these images", **about
    )


def test_all_files_are_written_and_maps_are_read_without_pickle(predictor, tmp_path):
    explained = [make_explained(SCRIPT), make_explained("b/c.png")]
    page = write(predictor, explained, tmp_path / "out").read_text()
    assert "plain has no recurrent layer." in page
    assert {path.name for path in (tmp_path / "out").iterdir()} >= set(FILES)
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as arrays:
        assert arrays["maps"].shape == (2, 1, 4, 4)
        assert arrays["names"].tolist() == [SCRIPT, "b/c.png"]
        assert arrays["methods"].tolist() == ["grad-cam"]
    table = pd.read_csv(tmp_path / "out" / "explanation.csv")
    assert table["name"].tolist() == [SCRIPT, "b/c.png"]
    assert table["strongest column"].tolist() == [2, 2]
    assert sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir()) == [
        "0001-script.png",
        "0002-c.png",
    ]


def compare(p_value, training_images):
    images, few = np.array([p_value]), np.array([[0, 1]])
    likeness = Likeness(images, images, 1 - images, images <= 0.05, 40, 0.05)
    neighbours = Neighbours(few, few / 10, [["known.png", SCRIPT]], [["benign", "malignant"]])
    return LearnedComparison(likeness, neighbours, training_images, "They are gone." if training_images is None else "")


def test_a_sample_that_is_unlike_is_reported_with_the_rate_of_false_alarms(predictor, tmp_path):
    known = np.zeros((2, 4, 4, 1), np.uint8)
    text = Reader(write(predictor, [make_explained()], tmp_path, compared=compare(0.03, known)).read_text()).text
    words = " ".join(text.split())
    assert "This image is unlike the images that the model has learned from: farther than 97% of the" in words
    assert "at most 5% on average are reported so by mistake" in words
    assert "Nearest training images" in words
    assert (tmp_path / "pictures" / "0001-a-nearest.png").is_file()
    assert pd.read_csv(tmp_path / "explanation.csv")["likeness"].tolist() == [0.03]


def test_a_sample_that_is_like_what_was_learned_has_its_distance_and_no_warning(predictor, tmp_path):
    words = Reader(write(predictor, [make_explained()], tmp_path, compared=compare(0.6, None)).read_text()).text
    assert "farther than 40% of the validation images" in words
    assert "They are gone." in words
    assert not any(absent in words for absent in ("Is it like what was learned?", "Nearest training"))


def test_a_sentence_says_why_samples_could_not_be_compared(predictor, tmp_path):
    page = write(predictor, [make_explained()], tmp_path, compared="It is not known.").read_text()
    assert "<p>It is not known.</p>" in page
    assert "likeness" not in pd.read_csv(tmp_path / "explanation.csv")


def test_files_of_others_are_kept_and_own_ones_replaced(predictor, tmp_path):
    (tmp_path / "own.txt").write_text("mine")
    write(predictor, [make_explained()] * 2, tmp_path)
    write(predictor, [make_explained()], tmp_path)
    assert len(list((tmp_path / "pictures").iterdir())) == 1
    assert (tmp_path / "own.txt").read_text() == "mine"
    (tmp_path / "explanation.csv").write_text("corrected by hand")
    with pytest.raises(InputError, match=r"explanation\.csv, which is not one of them"):
        write(predictor, [make_explained()], tmp_path)
    assert (tmp_path / "explanation.csv").read_text() == "corrected by hand"


def test_names_of_pictures_are_harmless():
    assert file_stem(7, make_explained("../../etc/pass wd$.png")) == "0007-pass-wd"
    assert file_stem(7, make_explained("שלום.png")) == "0007"
    assert PICTURED < 10_000


def test_the_check_says_what_was_measured_and_what_could_not_be():
    estimate = Estimate(0.25, 0.125, 0.375)
    plain = CheckedMethod("occlusion", estimate, estimate, float("nan"))
    part = check_part(MapCheck((plain,), "5 images"))
    assert part.tables[0].rows == [["occlusion", "+.250\n+.125 to +.375", "+.250\n+.125 to +.375", "–"]]
    assert any("cannot be drawn anew" in text for text in part.sentences)
    assert not any("lesion" in text for text in part.sentences)
    known = CheckedMethod("occlusion", estimate, estimate, 0.9, mass=estimate, pointing=estimate)
    check = MapCheck((known,), "5 images", with_lesion=4, by_chance=0.1)
    assert check_table(check).head[-2:] == ["in the lesion", "hits"]
    assert any("An even map has .100 of itself there" in text for text in check_part(check).sentences)
