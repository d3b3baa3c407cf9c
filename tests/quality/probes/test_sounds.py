import io
import struct
import wave

import numpy as np
import pytest

from mmcore.quality.probes.sounds import probe_audio
from tests.quality.samples import sound


def recorded(samples: np.ndarray, *, rate: int = 8000, channels: int = 1) -> bytes:
    """A WAV of float samples in -1 to 1."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def probed(data: bytes) -> dict:
    facts: dict = {"repairs": []}
    probe_audio(data, 60.0, facts)
    return facts


TONE = np.sin(2 * np.pi * 200 * np.arange(8000) / 8000)


def test_a_sound_recording_has_nothing_to_be_said_against() -> None:
    facts = probed(sound(1.0))
    assert (facts["audio_format"], facts["audio_rate"], facts["audio_channels"]) == ("WAV", 8000, 1)
    assert (facts["audio_missing"], facts["audio_clipping"], facts["audio_quiet"]) == (0, 0, 0)
    assert facts["audio_range"] == pytest.approx(1.0, abs=1e-3)
    assert facts["audio_offset"] < 1e-4
    assert facts["repairs"] == []


def test_silence_has_no_range_wherever_it_lies() -> None:
    assert probed(recorded(np.zeros(8000)))["audio_range"] == 0
    offset = probed(recorded(np.full(8000, 0.5)))
    assert (offset["audio_range"], offset["audio_offset"]) == (0, pytest.approx(0.5, abs=1e-4))


def test_a_click_in_silence_leaves_nearly_all_of_it_quiet() -> None:
    samples = np.zeros(8000)
    samples[4000:4010] = 0.8
    assert probed(recorded(samples))["audio_quiet"] == pytest.approx(49 / 50)
    # A quiet voice is no silence.
    assert probed(recorded(0.01 * TONE))["audio_quiet"] == 0


def test_what_is_cut_off_at_the_peak_is_measured() -> None:
    # A sine of twice full scale is beyond it for two thirds of the time; so is one that was made quieter afterwards.
    hum = 2 * np.sin(2 * np.pi * 10 * np.arange(8000) / 8000)
    assert probed(recorded(hum))["audio_clipping"] == pytest.approx(2 / 3, abs=0.01)
    assert probed(recorded(0.5 * np.clip(hum, -1, 1)))["audio_clipping"] == pytest.approx(2 / 3, abs=0.01)
    assert probed(recorded(TONE))["audio_clipping"] == 0


def test_channels_and_odd_rates_are_repaired() -> None:
    stereo = probed(recorded(np.repeat(0.5 * TONE, 2), channels=2))
    assert (stereo["audio_channels"], stereo["repairs"]) == (2, ["mixed_down"])
    assert probed(recorded(0.5 * TONE, rate=7350))["repairs"] == ["resampled"]


def test_samples_that_the_header_promises_and_the_file_lacks_are_missed() -> None:
    data = bytearray(recorded(0.5 * np.tile(TONE, 4)))
    assert probed(bytes(data[:-16000]))["audio_missing"] == 0.25
    place = data.index(b"data") + 4
    struct.pack_into("<I", data, place, 0xFFFFFFF0)
    assert probed(bytes(data))["audio_missing"] > 0.99


def test_a_recording_that_was_streamed_states_no_length_and_lacks_nothing() -> None:
    data = bytearray(recorded(0.5 * TONE))
    for place in (4, data.index(b"data") + 4):
        struct.pack_into("<I", data, place, 0xFFFFFFFF)
    facts = probed(bytes(data))
    assert (facts["audio_seconds"], facts["audio_missing"]) == (1, 0)


def test_a_recording_that_is_too_long_is_not_decoded() -> None:
    facts: dict = {"repairs": []}
    probe_audio(sound(1.0), 0.9, facts)
    assert (facts["audio_seconds"], facts.get("audio_ok")) == (1.0, None)
