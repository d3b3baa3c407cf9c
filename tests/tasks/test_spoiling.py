import numpy as np
import pytest
import torch

from mmcore.tasks._spoiling import KINDS, LETTERS, PIECES, bigrams, spectrum, squares
from tests.tiny import caption, corpus

RANDOM = np.random.default_rng(0)
CLIPS = RANDOM.integers(0, 255, (2, 6, 4, 4, 3)).astype(np.uint8)
PICTURES = RANDOM.integers(1, 255, (2, 9, 9, 3)).astype(np.uint8)
RECORDINGS = [RANDOM.normal(0, 1, (length, 8)).astype(np.float16) for length in (12, 3)]
TEXTS = ["a red square on the left", "three blue rings turn"]
SAMPLES = {"video": CLIPS, "image": PICTURES, "audio": RECORDINGS, "text": TEXTS}
WAYS = [(of, way) for of, kind in KINDS.items() for way in kind.ways]


def spoiled(of, way, seed=4):
    own, other = SAMPLES[of]
    return KINDS[of].ways[way](own, other, np.random.default_rng(seed))


@pytest.mark.parametrize(("of", "way"), WAYS)
def test_a_way_changes_a_sample_the_same_each_time_and_leaves_what_it_was_given(of, way):
    before = [np.array(one) for one in SAMPLES[of]]
    made = spoiled(of, way)
    assert np.array_equal(np.array(made), np.array(spoiled(of, way)))
    assert not np.array_equal(np.array(made), before[0])
    assert all(np.array_equal(np.array(one), then) for one, then in zip(SAMPLES[of], before, strict=True))
    if of != "text":
        assert (made.shape, made.dtype) == (SAMPLES[of][0].shape, SAMPLES[of][0].dtype)


@pytest.mark.parametrize("of", KINDS)
def test_the_model_and_the_baseline_take_a_spoiled_sample_like_any_other(of):
    kind = KINDS[of]
    made = [spoiled(of, way) for way in kind.ways]
    plain = kind.plain([*made, SAMPLES[of][0]])
    assert plain.shape[0] == len(made) + 1
    assert torch.isfinite(plain).all()
    assert (plain[:-1] - plain[-1]).abs().sum(1).max() > 0
    if of != "text":
        values, mask = kind.input(None, made)
        assert len(values) == len(made)
        assert mask.any(-1).all()


def test_clips_are_spoiled_as_is_said():
    own, other = CLIPS
    cut, flash = spoiled("video", "cut"), spoiled("video", "flash")
    assert np.array_equal(cut, [*own[:3], *other[3:]])
    assert np.array_equal(flash, [*own[:3], other[3], *own[4:]])
    assert np.array_equal(spoiled("video", "reversed"), own[::-1])
    assert np.array_equal(spoiled("video", "frozen"), [own[3]] * 6)
    shuffled = spoiled("video", "shuffled")
    assert sorted(frame.tobytes() for frame in shuffled) == sorted(frame.tobytes() for frame in own)


def test_of_two_frames_both_change_places():
    for seed in range(8):
        made = KINDS["video"].ways["shuffled"](CLIPS[0, :2], CLIPS[1, :2], np.random.default_rng(seed))
        assert np.array_equal(made, CLIPS[0, 1::-1])


def test_pictures_are_spoiled_as_is_said():
    own, other = PICTURES
    black = (spoiled("image", "blank") == 0).all(2)
    rows, columns = np.nonzero(black)
    assert (black.sum(), np.ptp(rows), np.ptp(columns)) == (16, 3, 3)
    assert np.array_equal(spoiled("image", "blank")[~black], own[~black])
    assert np.array_equal(spoiled("image", "pasted"), np.concatenate([own[:, :4], other[:, 4:]], 1))
    assert np.array_equal(spoiled("image", "negative"), 255 - own)
    noise = spoiled("image", "noisy").astype(float) - own
    assert 20 < noise.std() < 50
    torn, side = spoiled("image", "torn"), 9 // PIECES
    assert np.array_equal(torn[PIECES * side :], own[PIECES * side :])

    def pieces(picture):
        places = [(row, column) for row in range(0, 8, side) for column in range(0, 8, side)]
        return sorted(picture[row : row + side, column : column + side].tobytes() for row, column in places)

    assert pieces(torn) == pieces(own)


def test_recordings_are_spoiled_as_is_said():
    own, other = RECORDINGS
    still = own[own.astype(np.float32).var(1).argmin()]
    silent = (spoiled("audio", "silenced") == still).all(1)
    assert 4 <= silent.sum() <= 5
    assert np.array_equal(spoiled("audio", "silenced")[~silent], own[~silent])
    assert np.array_equal(spoiled("audio", "reversed"), own[::-1])
    foreign = (spoiled("audio", "spliced") != own).any(1)
    assert np.array_equal(spoiled("audio", "spliced")[foreign], other)  # the other is shorter than a third
    noise = spoiled("audio", "noisy").astype(np.float32) - own.astype(np.float32)
    assert noise.std() == pytest.approx(0.5 * own.astype(np.float32).std(), rel=0.2)
    clipped, low = spoiled("audio", "clipped"), np.quantile(own.astype(np.float32), 0.2).astype(np.float16)
    assert clipped.min() == low
    assert (clipped == low).mean() == pytest.approx(0.2, abs=0.02)


def test_texts_are_spoiled_as_is_said():
    own = TEXTS[0].split()
    assert sorted(spoiled("text", "shuffled").split()) == sorted(own)
    assert spoiled("text", "mixed") == "a red square rings turn"
    repeated = spoiled("text", "repeated").split()
    assert len(repeated) == len(own) + 2
    assert any(repeated.count(word) == 3 for word in own)
    garbled = spoiled("text", "garbled").split()
    assert [sorted(word) for word in garbled] == [sorted(word) for word in own]
    foreign = spoiled("text", "foreign")
    assert [len(word) for word in foreign.split()] == [len(word) for word in own]
    assert not any(character.isascii() for character in foreign.replace(" ", ""))
    assert all(ord(character) - 0x10D0 < LETTERS for character in foreign.replace(" ", ""))


def test_a_text_without_blanks_is_taken_by_its_characters():
    random = np.random.default_rng(1)
    made = KINDS["text"].ways["shuffled"]("红色圆形", "蓝色", random)
    assert made != "红色圆形"
    assert sorted(made) == sorted("红色圆形")
    assert KINDS["text"].ways["mixed"]("红色圆形", "蓝的方块", random) == "红色方块"


def test_the_text_of_a_sample_is_its_first_caption():
    rows = corpus(scenes=2, clips=0)
    rows.rows[1]["captions"] = [caption("one"), caption("two")]
    assert KINDS["text"].sample(rows, 1) == "one"


def test_the_baseline_sees_mean_colours_bands_and_pairs_of_characters():
    grey = np.full((16, 16, 3), 7, np.uint8)
    grey[:2, :2] = 9
    assert squares([grey])[0].reshape(3, 8, 8)[:, 0, :2].tolist() == [[9, 7]] * 3
    steps = np.arange(16, dtype=np.float16)[:, None]
    assert spectrum([steps])[0].tolist() == [0.5 + 2 * part for part in range(8)]
    assert bigrams(["abab"]).sum() == 3
    assert bigrams(["abab"]).max() == 2
    assert not torch.equal(bigrams(["abab"]), bigrams(["baba"]))
