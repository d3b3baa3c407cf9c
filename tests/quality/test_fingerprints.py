import io

import numpy as np
import pytest
from PIL import Image

from mmcore.quality import fingerprints
from mmcore.quality.fingerprints import EXACT_BYTES, NUM_PERMUTATIONS
from tests.quality.samples import scene, tune


def differing(one: int, other: int) -> int:
    """Bits that differ in the three parts that agree best."""
    parts = [((one ^ other) >> shift & 0xFFFF).bit_count() for shift in (0, 16, 32, 48)]
    return sum(parts) - max(parts)


def jpeg(array: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_a_picture_keeps_its_hash_when_it_is_compressed_scaled_darker_or_marked():
    picture = scene(1)
    smaller = np.asarray(Image.fromarray(picture).resize((64, 48)))
    marked = picture.copy()
    marked[-14:, -40:] = 255
    own = fingerprints.of_image(picture)
    copies = (jpeg(picture, 60), smaller, (picture * 0.9).astype(np.uint8), picture[1:-1, 1:-1], marked)
    assert all(differing(own, fingerprints.of_image(copy)) <= 4 for copy in copies)
    assert differing(own, fingerprints.of_image(scene(2))) > 8


def test_one_even_colour_has_no_hash():
    assert fingerprints.of_image(np.full((30, 40, 3), 200, np.uint8)) is None
    assert fingerprints.of_video(np.full((3, 30, 40, 3), 200, np.uint8)) is None
    assert fingerprints.of_audio(np.zeros(8000, np.float32), 8000.0) is None


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (500, 2, 3), (3, 3, 3)])
def test_any_size_of_picture_is_hashed_or_left(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert fingerprints.of_image(pixels) in (None, fingerprints.of_image(pixels))


def test_a_clip_keeps_its_hash_when_its_frames_are_scaled_and_tells_itself_from_another():
    clip = np.stack([scene(seed) for seed in range(5)])
    smaller = np.stack([np.asarray(Image.fromarray(frame).resize((64, 48))) for frame in clip])
    other = np.stack([scene(seed) for seed in range(10, 15)])
    own = fingerprints.of_video(clip)
    assert differing(own, fingerprints.of_video(smaller)) <= 2
    assert differing(own, fingerprints.of_video(other)) > 8


def test_a_recording_keeps_its_hash_when_it_is_softer_later_or_rounded():
    samples = tune(1)
    later = np.concatenate([np.zeros(400, np.float32), samples])
    rounded = np.round(samples * 100).astype(np.float32) / 100
    own = fingerprints.of_audio(samples, 8000.0)
    assert own == fingerprints.of_audio(samples / 4, 8000.0)
    assert differing(own, fingerprints.of_audio(later, 8000.0)) <= 4
    assert differing(own, fingerprints.of_audio(rounded, 8000.0)) <= 4
    assert differing(own, fingerprints.of_audio(tune(2), 8000.0)) > 6


def test_a_recording_of_a_few_frames_has_a_hash_and_a_click_has_none():
    short = tune(1)[:2400]
    assert fingerprints.of_audio(short, 8000.0) == fingerprints.of_audio(short / 2, 8000.0) is not None
    assert fingerprints.of_audio(short[:200], 8000.0) is None
    assert fingerprints.of_audio(np.tile(short, 400), 8000.0) is not None


def test_the_same_recording_at_another_rate_keeps_its_hash():
    samples = tune(1)
    twice = np.interp(np.arange(2 * len(samples)) / 2, np.arange(len(samples)), samples).astype(np.float32)
    assert differing(fingerprints.of_audio(samples, 8000.0), fingerprints.of_audio(twice, 16000.0)) <= 4


def test_case_width_punctuation_and_blanks_do_not_change_the_normal_form():
    assert fingerprints.normal_form(["A  Dog, running!"]) == fingerprints.normal_form(["a dog  running"])
    assert fingerprints.normal_form(["Ｄｏｇ，　狗。"]) == "dog 狗"
    assert fingerprints.normal_form(["नमस्ते", "👍🏽"]) == "नमस्ते 👍🏽"
    assert fingerprints.normal_form(["...", " "]) == ""


def test_texts_that_say_nothing_have_no_fingerprint():
    assert fingerprints.of_texts([[], ["", "?!"]]) == [None, None]


def test_a_text_has_the_same_fingerprint_among_others_as_alone():
    texts = [["a dog runs"], [], ["x"], ["two", "captions of it"], ["狗在跑"], ["a dog runs"]]
    together = fingerprints.of_texts(texts)
    assert together == [fingerprints.of_texts([one])[0] for one in texts]
    assert together[0] == together[-1] != together[2]


def test_a_text_fingerprint_tells_the_share_of_what_is_in_both():
    text = " ".join(f"word{k}" for k in range(200))
    one, other, foreign = fingerprints.of_texts([[text], [text + " word500 word501"], ["quite another thing"]])
    assert len(one) == EXACT_BYTES + NUM_PERMUTATIONS
    assert one[:EXACT_BYTES] != other[:EXACT_BYTES]
    agreeing = sum(a == b for a, b in zip(one[EXACT_BYTES:], other[EXACT_BYTES:], strict=True))
    assert agreeing >= 0.9 * NUM_PERMUTATIONS
    assert sum(a == b for a, b in zip(one[EXACT_BYTES:], foreign[EXACT_BYTES:], strict=True)) < 10


def test_fingerprints_are_the_same_on_every_machine():
    assert fingerprints.of_texts([["a dog"]])[0].hex()[:48] == "2d542c246172ce211bbe11280c9c4824e73084e2e4d32e17"
    ramp = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3) ** 2 % 251
    assert fingerprints.of_image(ramp.astype(np.uint8)) == 522690252718933776
