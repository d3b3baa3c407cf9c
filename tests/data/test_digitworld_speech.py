import numpy as np
import pytest

from mmcore.data.digitworld_speech import RATE, speak, wav
from mmcore.data.modalities import UNLIMITED
from mmcore.data.modalities.audio import Modality

LONGEST = "in this scene a little yellow triangle sits to the left of a little purple triangle"


def test_a_caption_lasts_between_one_and_four_seconds() -> None:
    for seed in range(40):
        assert len(speak(np.random.default_rng(seed), "a big red one is over a big red two")) > 0.8 * RATE
        assert len(speak(np.random.default_rng(seed), LONGEST)) < 4.0 * RATE


def test_speakers_differ_in_rate_pitch_and_loudness() -> None:
    waves = [speak(np.random.default_rng(seed), LONGEST) for seed in range(20)]
    lengths = [len(wave) for wave in waves]
    assert max(lengths) > 1.25 * min(lengths)
    peaks = [int(np.abs(wave).max()) for wave in waves]
    assert max(peaks) > 1.5 * min(peaks)
    assert max(peaks) <= 32000


def test_letters_sound_different() -> None:
    def share_above_1600_hertz(text: str) -> float:
        power = np.abs(np.fft.rfft(speak(np.random.default_rng(5), text).astype(float), 1 << 14)) ** 2
        return float(power[len(power) * 2 // 5 :].sum() / power.sum())

    assert share_above_1600_hertz("i" * 40) > 3 * share_above_1600_hertz("o" * 40)
    assert share_above_1600_hertz("s" * 40) > 0.8


def test_pauses_are_quiet() -> None:
    wave = speak(np.random.default_rng(6), "a" * 20 + " " * 20 + "a" * 20).astype(float)
    middle = wave[len(wave) * 45 // 100 : len(wave) * 50 // 100]
    assert np.abs(middle).mean() < 0.1 * np.abs(wave).mean()


def test_the_wav_is_read_again() -> None:
    samples = speak(np.random.default_rng(7), "a red star")
    media = Modality().decode(wav(samples), UNLIMITED)
    assert media.rate == RATE
    assert media.seconds == pytest.approx(len(samples) / RATE)
    assert np.array_equal(np.round(media.array * 32768).astype(np.int16), samples)
