"""Duplicate images: equal pixels and images saved or resized again, in contrast to images of other patients."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from table_samples import load, warnings_of, write_table

from keras_lnn.data.decode.copies import digest_values, digests_of, find_near_copies, fingerprint
from keras_lnn.data.sources.loading import load_data


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_LNN_CACHE", str(tmp_path / "cache"))


def take_prints(images):
    return fingerprint(images, [digest_values(image) for image in images])


def save_again(image, kind):
    """The image after something that people do to it."""
    picture = Image.fromarray(image[..., 0])
    if kind == "brighter":
        return np.clip(image * 1.1 + 5, 0, 255).astype(np.uint8)
    if kind == "resized":
        larger = picture.resize((image.shape[1] * 3 // 2, image.shape[0] * 3 // 2), Image.Resampling.BICUBIC)
        return np.asarray(larger.resize(picture.size, Image.Resampling.BILINEAR))[..., None]
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(kind.removeprefix("JPEG ")))
    return np.asarray(Image.open(stream))[..., None]


@pytest.fixture(scope="module")
def phantoms(abdomens_drawn_once):
    return {
        name: np.concatenate([np.asarray(split.images[:400]) for split in load_data(name).splits.values()])
        for name in ("phantom-breast", "phantom-liver")
    }


@pytest.mark.parametrize("name", ["phantom-breast", "phantom-liver"])
@pytest.mark.parametrize("kind", ["JPEG 90", "JPEG 75", "resized", "brighter"])
def test_images_that_were_saved_again_are_found_and_no_others(phantoms, name, kind):
    images, count = phantoms[name], 60
    both = np.concatenate([images, [save_again(image, kind) for image in images[:count]]])
    parts = np.repeat([0, 1], [len(images), count])
    prints = take_prints(both)
    assert len(set(digests_of(prints))) == len(both)
    assert find_near_copies(prints, both, parts) == [(row, row + len(images)) for row in range(count)]
    assert find_near_copies(prints, both, np.zeros(len(both), int)) == []


def test_different_images_are_not_reported_as_copies(phantoms):
    for images in phantoms.values():
        assert find_near_copies(take_prints(images), images, np.arange(len(images)) % 3) == []


def test_uniform_images_and_equal_pixels_are_not_near_duplicates():
    generator = np.random.default_rng(0)
    images = np.full((30, 40, 40, 1), 7, np.uint8) + generator.integers(0, 2, (30, 40, 40, 1), dtype=np.uint8)
    images[20:] = generator.integers(0, 256, (1, 40, 40, 1))
    prints = take_prints(images)
    assert len(set(digests_of(prints))) == 21
    assert find_near_copies(prints, images, np.arange(30) % 2) == []
    assert find_near_copies(prints[:1], images[:1], np.zeros(1, int)) == []


def test_a_search_in_many_images_needs_little_memory_for_each():
    count, generator = 10_000, np.random.default_rng(0)
    prints = generator.integers(0, 256, (count, 264), dtype=np.uint8)
    # Of every hundred images one is alike in another part, and the last fifty are all alike.
    prints[1::100, 8:] = prints[::100, 8:]
    prints[-50:, 8:] = prints[-1, 8:]
    images = np.broadcast_to(generator.integers(0, 256, (1, 20, 20, 1), dtype=np.uint8), (count, 20, 20, 1))
    tracemalloc.start()
    try:
        found = find_near_copies(prints, images, np.arange(count) % 2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(found) >= {(row, row + 1) for row in range(0, count - 100, 100)}
    # Numbers of all miniatures alone would take 1,024 bytes for each.
    assert peak / count < 2000


@pytest.mark.parametrize("shape", [(5, 4, 1), (20, 33, 3), (6, 18, 17, 1)])
def test_images_that_differ_in_one_pixel_are_distinguished(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    other = image.copy()
    other.reshape(-1)[7] ^= 1
    same, again, changed = digests_of(take_prints(np.stack([image, image, other])))
    assert same == again != changed


def test_grey_images_in_three_channels_equal_grey_images():
    grey = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    assert digest_values(colour) == digest_values(grey)
    colour[5, 4, 2] ^= 1
    assert digest_values(colour) != digest_values(grey) != digest_values(grey.reshape(5, 6))


def write_noise(folder, count, suffix="png"):
    folder.mkdir(parents=True)
    for k in range(count):
        pixels = np.random.default_rng(k).integers(0, 256, (6, 6), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)
        picture.save(folder / f"{k:03}.{suffix}")


def test_images_saved_again_are_reported_with_their_splits(tmp_path):
    write_noise(tmp_path / "images", 20)
    Image.open(tmp_path / "images" / "003.png").save(tmp_path / "images" / "same.bmp")
    Image.open(tmp_path / "images" / "004.png").convert("RGB").save(tmp_path / "images" / "colour.png")
    Image.open(tmp_path / "images" / "005.png").resize((80, 80)).save(tmp_path / "images" / "near.jpg", quality=80)
    names = [f"{k:03}.png" for k in range(20)]
    rows = [(name, "ab"[k % 2], "train" if k < 14 else "test") for k, name in enumerate(names)]
    rows += [("same.bmp", "b", "test"), ("colour.png", "b", "test"), ("near.jpg", "b", "test")]
    table = write_table(tmp_path / "t.csv", ("file", "label", "split"), rows)
    warnings = warnings_of(load(table, side=32))
    pairs = [sorted(warning.partition("good: ")[2].split(", ")) for warning in warnings[:2]]
    assert [len(found) for found in pairs] == [2, 1]
    assert warnings[0].startswith("2 pairs of identical images are in two splits, so the results are too good")
    assert {pair.partition(" (")[0] for pair in pairs[0]} == {"003.png", "004.png"}
    assert warnings[1].startswith("1 pair of nearly identical images is in two splits, so the results may be")
    assert set(pairs[1][0].split(" ~ ")) >= {"near.jpg (test)"}
    # 004.png is in class a, its copy in colour in class b.
    assert warnings[2] == "1 pair of identical images has different labels: 004.png (a) = colour.png (b)"


def test_the_same_image_in_two_class_folders_is_reported(tmp_path):
    for name in ("benign", "malignant"):
        write_noise(tmp_path / "set" / name, 12)
    for k in range(2, 12):
        (tmp_path / "set" / "malignant" / f"{k:03}.png").unlink()
        write_noise(tmp_path / f"other{k}", 1)
        picture = Image.fromarray(np.random.default_rng(99 + k).integers(0, 256, (48, 48), dtype=np.uint8))
        picture.save(tmp_path / "set" / "malignant" / f"{k:03}.png")
    warnings = warnings_of(load_data(f"folder:{tmp_path / 'set'}", size=32))
    assert (
        "2 pairs of identical images have different labels: benign/000.png (benign) = malignant/000.png (malignant),"
        " benign/001.png (benign) = malignant/001.png (malignant)" in warnings
    )
