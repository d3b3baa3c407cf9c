import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mmcore.data.modalities import UNLIMITED, Limits, Media
from mmcore.data.modalities.audio import Modality, frame_size, mel_bands, resample
from tests.data.conftest import SETTINGS

AUDIO = Modality()


def wav(
    body: bytes, *, code: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, extra: bytes = b""
) -> bytes:
    size = bits // 8 * channels
    header = struct.pack("<HHIIHH", code, channels, rate, rate * size, size, bits) + extra
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + b"LIST" + struct.pack("<I", 3) + b"odd\0"
    chunks += b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def tone(hertz: float, rate: int = 8000, seconds: float = 0.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (bytes([128, 192, 64]), {"bits": 8}),
        (np.array([0, 16384, -16384], "<i2").tobytes(), {"bits": 16}),
        (b"\0\0\0" + b"\0\0\x40" + b"\0\0\xc0", {"bits": 24}),
        (np.array([0, 1 << 30, -(1 << 30)], "<i4").tobytes(), {"bits": 32}),
        (np.array([0, 0.5, -0.5], "<f4").tobytes(), {"code": 3, "bits": 32}),
        (np.array([0, 0.5, -0.5], "<f8").tobytes(), {"code": 3, "bits": 64}),
    ],
)
def test_all_sample_formats_give_the_same_wave(body: bytes, options: dict[str, int]) -> None:
    media = AUDIO.decode(wav(body, **options), UNLIMITED)
    assert media.array.tolist() == [0.0, 0.5, -0.5]
    assert media.array.dtype == np.float32
    assert (media.rate, media.seconds) == (8000.0, 0.000375)


def test_channels_are_mixed() -> None:
    body = np.array([16384, 0, -16384, -16384], "<i2").tobytes()
    assert AUDIO.decode(wav(body, channels=2), UNLIMITED).array.tolist() == [0.25, -0.5]


def test_the_extensible_header_is_understood() -> None:
    extra = struct.pack("<HHIH", 22, 32, 0, 3) + bytes(14)
    body = np.array([0.25], "<f4").tobytes()
    assert AUDIO.decode(wav(body, code=0xFFFE, bits=32, extra=extra), UNLIMITED).array.tolist() == [0.25]


def test_a_stated_size_is_believed_only_as_far_as_there_are_bytes() -> None:
    data = bytearray(wav(bytes(200)))
    data[-204:-200] = struct.pack("<I", 0xFFFFFFFF)
    assert len(AUDIO.decode(bytes(data), UNLIMITED).array) == 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"no sound", "of no known kind"),
        (wav(b""), "holds no samples"),
        (wav(bytes(8))[:30], "without a data chunk"),
        (wav(bytes(8), rate=1), "states 1 samples a second"),
        (wav(bytes(8), channels=0), "in 0 channels"),
        (wav(bytes(8), bits=12), "not supported"),
        (wav(np.array([np.nan], "<f4").tobytes(), code=3, bits=32), "are no numbers"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"the audio .*{message}"):
        AUDIO.decode(data, UNLIMITED)


def test_blocks_that_do_not_fit_the_channels_are_refused() -> None:
    data = bytearray(wav(bytes(200)))
    data[32:34] = struct.pack("<H", 3)
    with pytest.raises(ValueError, match="blocks of 3 bytes for 1 channels of 16 bits"):
        AUDIO.decode(bytes(data), UNLIMITED)


def test_what_is_too_long_or_empty_is_refused_by_its_header_as_by_its_samples() -> None:
    for look in (AUDIO.decode, AUDIO.header):
        with pytest.raises(ValueError, match=r"lasts 1.0 seconds, more than 0.5"):
            look(wav(bytes(16000)), Limits(1, 0.5, 1))
        with pytest.raises(ValueError, match="holds no samples"):
            look(wav(b""), UNLIMITED)


def test_a_tone_is_loudest_in_its_band() -> None:
    out = AUDIO.transform(Media(tone(1000), 0.5, 8000), SETTINGS)
    assert out.shape == (48, 40)
    assert out.dtype == np.float16
    mel = 2595 * np.log10(1 + 1000 / 700)
    top = 2595 * np.log10(1 + 4000 / 700)
    assert int(out.mean(axis=0).argmax()) == pytest.approx(mel / top * 41 - 1, abs=1)


def test_another_rate_gives_nearly_the_same_bands() -> None:
    slow = AUDIO.transform(Media(tone(700), 0.5, 8000), SETTINGS).astype(float)
    fast = AUDIO.transform(Media(tone(700, 44100), 0.5, 44100), SETTINGS).astype(float)
    assert slow.shape == fast.shape
    assert np.abs(slow - fast)[:, slow.mean(axis=0) > 0.9].max() < 0.05


def test_only_the_first_seconds_count_and_a_click_is_long_enough() -> None:
    assert AUDIO.transform(Media(np.ones(80000, np.float32), 10, 8000), SETTINGS).shape == (398, 40)
    assert AUDIO.transform(Media(np.ones(1, np.float32), 1 / 8000, 8000), SETTINGS).shape == (1, 40)


def test_resampling_keeps_a_tone_and_drops_what_does_not_fit() -> None:
    assert np.abs(resample(tone(440, 16000), 16000, 8000) - tone(440, 8000)).max() < 0.01
    assert np.abs(resample(tone(6000, 16000), 16000, 8000)).max() < 0.01


def test_without_bands_the_samples_come_as_they_are_ten_milliseconds_at_a_time() -> None:
    samples, raw = np.linspace(-1, 1, 205, dtype=np.float32), replace(SETTINGS, audio_mels=None)
    made = AUDIO.transform(Media(samples, 205 / 8000, 8000.0), raw)
    assert made.shape == (3, frame_size(raw)) == (3, 80)
    np.testing.assert_array_equal(made.reshape(-1)[:205], samples.astype(np.float16))
    assert not made.reshape(-1)[205:].any()


def test_bands_overlap_by_half_and_none_is_empty() -> None:
    bands = mel_bands(8000, 256, 40)
    assert len(bands) == 40
    assert all(high > low and weights.max() > 0.3 for low, high, weights in bands)
    assert all(before[0] <= after[0] for before, after in pairwise(bands))
    assert len(mel_bands(8000, 256, 80)) == 80


def test_numbers_of_simple_sounds() -> None:
    found = AUDIO.describe(Media(tone(1000), 0.5, 8000))
    assert found["seconds"] == 0.5
    assert found["peak"] == pytest.approx(-6.02, abs=0.01)
    assert found["loudness"] == pytest.approx(-9.03, abs=0.01)
    assert found["silence"] == 0.0
    assert found["crossings"] == pytest.approx(2.0, abs=0.01)
    assert AUDIO.describe(Media(np.zeros(8000, np.float32), 1, 8000))["silence"] == 1.0
