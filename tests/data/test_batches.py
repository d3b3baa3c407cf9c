import numpy as np
import pytest
import torch

from mmcore.data.batches import NO_AUGMENTATION, Batch, Batches, agreement, augmented, sounding, texts_of, variations
from mmcore.settings import AugmentSettings
from tests.tiny import TinyCorpus, caption, clip, corpus, picture, processor, scene


def batches(rows=None, needs=("image", "captions"), **options):
    options = {"batch_size": 6, **options}
    return Batches(rows or corpus(), processor(), needs, **options)


def test_an_epoch_shows_every_row_once_and_the_next_in_another_order():
    source = batches(seed=3)
    assert len(source) == 4
    epochs = [[identity for i in range(4) for identity in source.at(4 * e + i).ids] for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(f"scene-{i}" for i in range(24))
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_seed_and_number_alone():
    one, other = (
        batches(seed=3, augment=AugmentSettings(2, True, 1, 0.3)),
        batches(seed=3, augment=AugmentSettings(2, True, 1, 0.3)),
    )
    one.at(0), one.at(9)
    a, b = one.at(5), other.at(5)
    assert a.ids == b.ids
    for name in ("image", "text"):
        assert torch.equal(a.inputs[name][0], b.inputs[name][0])
    assert batches(seed=4).at(5).ids != a.ids


def test_without_shuffling_rows_come_in_order_with_their_first_caption_and_a_short_last_batch():
    source = batches(batch_size=10, shuffle=False)
    assert [len(source.at(i)) for i in range(len(source))] == [10, 10, 4]
    texts = processor().decode(source.at(0).inputs["text"][0])
    assert texts[:2] == ["a red square on the left", "a green square on the left"]


def test_a_small_corpus_makes_batches_of_all_its_rows():
    assert len(batches(corpus(scenes=3)).at(7)) == 3


def test_rows_that_lack_what_is_needed_are_not_drawn():
    rows = TinyCorpus([scene(0), {**scene(1), "captions": []}, {**scene(2), "image": None}])
    assert batches(rows).at(0).ids == ["scene-0"]
    with pytest.raises(ValueError, match="no row has video and captions"):
        batches(rows, needs=("video", "captions"))


def test_texts_and_keys_that_say_the_same_are_marked():
    rows = TinyCorpus([
        {"id": "a", "image": picture("red", "left"), "captions": [caption("red here")]},
        {"id": "b", "image": picture("red", "left"), "captions": [caption("red here"), caption("left")]},
        {"id": "c", "image": picture("blue", "left"), "captions": [caption("blue")], "positives": "k"},
        {"id": "d", "image": picture("blue", "left"), "captions": [caption("sky")], "positives": "k"},
    ])  # fmt: skip
    same = batches(rows, batch_size=4, shuffle=False).at(0).same_BB.tolist()
    # Row i's text fits row j: "red here" is a caption of b as well.
    assert same == [
        [True, True, False, False], [True, True, False, False], [False, False, True, True], [False, False, True, True]
    ]  # fmt: skip


def test_a_caption_of_b_that_a_lacks_fits_only_b():
    rows = TinyCorpus([
        {"id": "a", "image": picture("red", "left"), "captions": [caption("red here")]},
        {"id": "b", "image": picture("red", "left"), "captions": [caption("left"), caption("red here")]},
    ])  # fmt: skip
    same = batches(rows, batch_size=2, shuffle=False).at(0).same_BB.tolist()
    assert same == [[True, True], [False, True]]


def test_a_missing_transcript_is_masked():
    rows = TinyCorpus([clip(0), clip(1)])
    source = batches(rows, needs=("video", "summary"), also=["transcript"], shuffle=False)
    batch = source.at(0)
    assert batch.inputs["transcript"][1].any(1).tolist() == [False, True]
    assert batch.inputs["video"][0].shape == (2, 2, 16, 16, 3)
    assert batch.present("video", "transcript").tolist() == [False, True]


def test_texts_of_several_columns_are_joined_without_repeats():
    row = {"summary": "one", "captions": [caption("one"), caption("two")], "transcript": None}
    assert texts_of(row, "summary", "captions", "transcript") == ["one", "two"]


def varied(pixels, augment):
    return augmented(pixels, *variations(augment, np.random.default_rng(0), len(pixels)))


def test_a_shift_moves_a_sample_and_repeats_its_edge():
    pixels = torch.arange(9, dtype=torch.uint8).reshape(1, 3, 3, 1).repeat(1, 1, 1, 3)
    moved = varied(pixels, AugmentSettings(1, False, 0, 0.0))[0, :, :, 0]
    allowed = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            rows, columns = (np.clip(np.arange(3) + step, 0, 2) for step in (down, right))
            allowed.append(pixels[0, :, :, 0].numpy()[rows][:, columns].tolist())
    assert moved.tolist() in allowed
    assert torch.equal(varied(pixels, NO_AUGMENTATION), pixels)


def test_flipping_mirrors_about_half_of_the_samples_and_all_frames_of_a_clip_alike():
    frames = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 1, 4, 1).repeat(200, 2, 4, 1, 3)
    flipped = varied(frames, AugmentSettings(0, True, 0, 0.0))[:, :, 0, 0, 0]
    assert flipped.unique(dim=0).tolist() == [[0, 0], [3, 3]]
    assert 60 < int((flipped[:, 0] == 3).sum()) < 140


def test_moving_a_batch_to_the_device_it_is_on_copies_nothing():
    batch = batches().at(0)
    assert batch.to(torch.device("cpu")) is batch
    assert isinstance(batch, Batch)


def test_agreement_is_the_share_of_a_text_that_its_siblings_hold():
    # "1 2 3" against "1 2 4": words 2 of 3, pairs 1 of 2, triples and longer none.
    assert agreement([[1, 2, 3], [1, 2, 4]]) == pytest.approx([(2 / 3 + 1 / 2) / 4] * 2)
    # A repeated word counts as often as one sibling repeats it.
    assert agreement([[1, 1], [1, 2], [1, 3]])[0] == pytest.approx((1 / 2) / 4)
    assert agreement([[1, 2]]) == [0.0]


def test_the_text_of_consensus_is_always_drawn():
    texts = ["on the left red", "a red square on the left", "a red thing on the left"]
    rows = TinyCorpus([{"id": "a", "image": picture("red", "left"), "captions": [caption(text) for text in texts]}])
    source = batches(rows, choice="consensus")
    drawn = {processor().decode(source.at(i).inputs["text"][0])[0] for i in range(8)}
    assert drawn == {"a red square on the left"}
    assert len({processor().decode(batches(rows).at(i).inputs["text"][0])[0] for i in range(20)}) == 3
    with pytest.raises(ValueError, match="any, consensus"):
        batches(rows, choice="best")


def test_a_recording_moves_by_bands_and_is_silent_for_a_stretch_of_time_and_bands():
    frames = np.arange(60, dtype=np.float16).reshape(10, 6) + 1
    augment = AugmentSettings(0, False, 1, 0.5)
    same = sounding(frames, augment, np.array([0.5, 0, 0, 0, 0]), banded=True)
    np.testing.assert_array_equal(same, frames)
    higher = sounding(frames, augment, np.array([0.99, 0, 0, 0, 0]), banded=True)
    np.testing.assert_array_equal(higher, frames[:, [1, 2, 3, 4, 5, 5]])
    muted = sounding(frames, augment, np.array([0.5, 0.99, 0.99, 0.99, 0.0]), banded=True)
    silent = np.zeros((10, 6), bool)
    silent[6:] = silent[:, :2] = True
    np.testing.assert_array_equal(muted == 1, silent | (frames == 1))
    np.testing.assert_array_equal(muted[~silent], frames[~silent])
    samples = sounding(frames, augment, np.array([0.99, 0.99, 0.99, 0.99, 0.0]), banded=False)
    np.testing.assert_array_equal(samples[:6], frames[:6])
    assert not samples[6:].any()
    assert frames.min() == 1
