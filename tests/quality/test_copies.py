import io

import numpy as np
from PIL import Image

from mmcore.quality.copies import frames, picture, recording, same_frames, same_pictures, same_recordings, same_texts
from tests.quality.samples import scene, tune

PAIR = np.array([[0, 1]])


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(same_pictures(np.stack([picture(one), picture(other)]), PAIR)[0])


def jpeg(array: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_a_picture_is_a_copy_however_it_was_stored():
    photograph = scene(1)
    assert same(photograph, jpeg(photograph, 60))
    assert same(photograph, np.asarray(Image.fromarray(photograph).resize((64, 48))))
    assert same(photograph, np.clip(photograph * 1.1, 0, 255).astype(np.uint8))
    assert same((photograph * 0.9).astype(np.uint8), photograph)


def test_a_picture_is_a_copy_when_two_percent_of_each_side_are_cut_off():
    photograph = scene(2)
    assert same(photograph, photograph[2:-2, 2:-2])
    assert same(photograph[2:-2, 2:-2], photograph)


def test_a_mark_in_a_corner_is_let_pass_and_one_in_the_middle_is_not():
    photograph = scene(3)
    corner, middle = photograph.copy(), photograph.copy()
    corner[-12:, -36:] = 255
    middle[40:56, 50:78] = (255, 0, 255)
    assert same(photograph, corner)
    assert not same(photograph, middle)


def test_the_same_layout_with_grain_of_its_own_is_no_copy():
    rng = np.random.default_rng(0)
    layout = np.full((48, 48, 3), 128, np.int64)
    layout[10:22, 8:20] = (200, 40, 40)
    layout[26:40, 28:42] = (40, 60, 220)
    one, other = (np.clip(layout + rng.normal(0, 8, layout.shape), 0, 255).astype(np.uint8) for _ in range(2))
    assert same(one, one.copy())
    assert not same(one, other)


def test_another_colour_of_one_part_is_no_copy():
    hand = np.full((72, 72, 3), 255, np.uint8)
    hand[12:60, 20:52] = (255, 220, 93)
    hand[30:40, 30:40] = 20
    darker = hand.copy()
    darker[12:60, 20:52] = np.where(hand[12:60, 20:52] == 20, 20, np.array([191, 105, 60], np.uint8))
    assert not same(hand, darker)


def test_a_small_part_of_another_colour_is_no_copy():
    rider = scene(5)
    skin = np.array([240, 210, 165])
    rider[40:58, 60:84] = skin
    tanned = rider.copy()
    tanned[40:58, 60:84] = skin - (12, 20, 30)
    assert not same(rider, tanned)


def test_a_much_darker_picture_is_no_copy():
    assert not same(scene(1), (scene(1) * 0.6).astype(np.uint8))


def test_other_pictures_and_a_mirrored_one_are_no_copies():
    assert not same(scene(1), scene(2))
    assert not same(scene(1), scene(1)[:, ::-1])


def test_a_clip_is_a_copy_with_one_frame_changed_and_not_with_two():
    clip = np.stack([scene(seed) for seed in range(4)])
    one, two = clip.copy(), clip.copy()
    one[0] = scene(9)
    two[:2] = scene(9)
    stack = np.stack([frames(clip), frames(one), frames(two)])
    assert same_frames(stack, np.array([[0, 1], [0, 2]])).tolist() == [True, False]


def test_a_recording_is_a_copy_softer_later_or_at_another_rate():
    samples = tune(1)
    later = np.concatenate([np.zeros(500, np.float32), samples / 3])
    twice = np.interp(np.arange(2 * len(samples)) / 2, np.arange(len(samples)), samples).astype(np.float32)
    stack = np.stack([recording(samples, 8000.0), recording(later, 8000.0), recording(twice, 16000.0)])
    assert same_recordings(stack, np.array([[0, 1], [0, 2]])).all()


def test_seconds_of_silence_before_a_recording_hide_no_copy():
    late = np.concatenate([np.zeros(5 * 8000, np.float32), tune(1)])
    others = [np.concatenate([late[:40_000], tune(2)]), late / 3 + np.float32(1e-6)]
    stack = np.stack([recording(samples, 8000.0) for samples in (late, *others)])
    assert same_recordings(stack, np.array([[0, 1], [0, 2]])).tolist() == [False, True]


def test_two_recordings_that_share_a_hum_are_no_copies():
    hum = 0.2 * np.sin(2 * np.pi * 50 * np.arange(12_000) / 8000).astype(np.float32)
    stack = np.stack([recording(tune(seed) + hum, 8000.0) for seed in (1, 2)])
    assert not same_recordings(stack, PAIR)[0]


def test_texts_are_copies_when_nine_tenths_of_them_are_shared():
    long = " ".join(f"word{k * k}" for k in range(100))
    texts = [["A dog runs."], ["a  dog runs"], [long], [long + " more"], ["a cat runs"]]
    pairs = np.array([[0, 1], [2, 3], [0, 4], [1, 2]])
    assert same_texts(texts, pairs).tolist() == [True, True, False, False]
