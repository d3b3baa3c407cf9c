"""Recordings and clips that are none, or hold nothing."""

import struct

import numpy as np
from numpy.typing import NDArray

from tests.faults.dirty_bombs import many_frames_gif, told
from tests.faults.dirty_captions import sentence
from tests.faults.dirty_clean import Rng, chunk, clip, encoded, frames, photo, voice, wav
from tests.faults.dirty_images import png_chunks, png_of
from tests.faults.dirty_kinds import Columns, Kinds

kinds = Kinds()


def heard(rng: Rng, audio: bytes) -> Columns:
    return {"audio": audio, "speech_text": sentence(rng, "en")}


def _speech(rng: Rng, rate: int = 16000) -> NDArray[np.float64]:
    return voice(rng, float(rng.uniform(0.8, 2.0)), rate) * 0.5


def _raw(header: bytes, body: bytes) -> bytes:
    chunks = chunk(b"fmt ", header) + chunk(b"data", body)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


# Recordings that cannot be read --------------------------------------------------------------------------------------


@kinds("undecodable", "reject", extension=".wav")
def wav_empty(rng: Rng) -> Columns:
    return heard(rng, b"")


@kinds("undecodable", "reject", extension=".wav")
def wav_cut(rng: Rng) -> Columns:
    """The header states more samples than there are."""
    data = wav(_speech(rng), 16000)
    return heard(rng, data[: int(len(data) * rng.uniform(0.2, 0.8))])


@kinds("undecodable", "reject", extension=".wav")
def wav_of_four_gigabytes(rng: Rng) -> Columns:
    """The header states four gigabytes over a second of sound."""
    data = bytearray(wav(_speech(rng), 16000))
    place = data.index(b"data") + 4
    data[4:8] = struct.pack("<I", 4_294_000_000)
    data[place : place + 4] = struct.pack("<I", 4_293_000_000 + int(rng.integers(1000)) * 2)
    return heard(rng, bytes(data))


@kinds("undecodable", "reject", extension=".wav")
def wav_without_samples(rng: Rng) -> Columns:
    return heard(rng, wav(np.zeros(0), int(rng.choice([8000, 16000, 44100]))))


@kinds("undecodable", "reject", extension=".wav")
def wav_without_data(rng: Rng) -> Columns:
    data = wav(_speech(rng), 16000)
    return heard(rng, data[: data.index(b"data")])


@kinds("undecodable", "reject", extension=".wav")
def wav_of_no_format(rng: Rng) -> Columns:
    """Samples, and no word on how to read them."""
    body = chunk(b"data", wav(_speech(rng), 16000)[44:])
    return heard(rng, b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)


@kinds("undecodable", "reject", extension=".wav")
def wav_at_one_hertz(rng: Rng) -> Columns:
    return heard(rng, wav(_speech(rng)[: int(rng.integers(20, 50))], 1))


@kinds("undecodable", "reject", extension=".wav")
def wav_at_no_rate(rng: Rng) -> Columns:
    return heard(rng, wav(_speech(rng), 0))


@kinds("undecodable", "reject", extension=".wav")
def wav_at_impossible_rate(rng: Rng) -> Columns:
    return heard(rng, _raw(struct.pack("<HHIIHH", 1, 1, 4_000_000_000, 0, 2, 16), wav(_speech(rng), 16000)[44:]))


@kinds("undecodable", "reject", extension=".wav")
def wav_of_no_channels(rng: Rng) -> Columns:
    return heard(rng, _raw(struct.pack("<HHIIHH", 1, 0, 16000, 0, 0, 16), wav(_speech(rng), 16000)[44:]))


@kinds("undecodable", "reject", extension=".wav")
def wav_of_60000_channels(rng: Rng) -> Columns:
    header = struct.pack("<HHIIHH", 1, 60000, 16000, 0, 54464, 16)
    return heard(rng, _raw(header, wav(_speech(rng), 16000)[44:]))


@kinds("undecodable", "reject", extension=".wav")
def wav_of_odd_blocks(rng: Rng) -> Columns:
    """Two channels of sixteen bits in blocks of three bytes: the header contradicts itself."""
    header = struct.pack("<HHIIHH", 1, 2, 16000, 48000, 3, 16)
    return heard(rng, _raw(header, wav(_speech(rng), 16000)[44:]))


@kinds("undecodable", "reject", extension=".wav")
def wav_of_13_bits(rng: Rng) -> Columns:
    return heard(rng, _raw(struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 77), wav(_speech(rng), 16000)[44:]))


@kinds("undecodable", "reject", extension=".wav")
def web_page_as_recording(rng: Rng) -> Columns:
    return heard(rng, f"<html><body>Service unavailable, request {rng.integers(1e9)}</body></html>".encode())


@kinds("undecodable", "reject", extension=".wav")
def picture_as_recording(rng: Rng) -> Columns:
    return heard(rng, encoded(photo(rng), "JPEG"))


@kinds("undecodable", "reject", extension=".wav")
def zeros_as_recording(rng: Rng) -> Columns:
    return heard(rng, bytes(int(rng.integers(3000, 30000))))


# Recordings of nothing -----------------------------------------------------------------------------------------------


@kinds("unusable", "reject", extension=".wav")
def wav_not_a_number(rng: Rng) -> Columns:
    samples = _speech(rng)
    samples[len(samples) // 3 : len(samples) // 2] = np.nan
    return heard(rng, wav(samples, 16000, bits=32, floating=True))


@kinds("unusable", "reject", extension=".wav")
def wav_infinite(rng: Rng) -> Columns:
    samples = _speech(rng)
    samples[int(rng.integers(len(samples)))] = -np.inf
    return heard(rng, wav(samples, 16000, bits=int(rng.choice([32, 64])), floating=True))


@kinds("unusable", "reject", extension=".wav")
def wav_huge_floats(rng: Rng) -> Columns:
    """Integers read as floats: 1e30 and the like."""
    return heard(rng, wav(_speech(rng) * 1e30, 16000, bits=32, floating=True))


@kinds("doubtful", "flag", extension=".wav")
def wav_silent(rng: Rng) -> Columns:
    return heard(rng, wav(np.zeros(int(rng.integers(8000, 30000))), 16000))


@kinds("doubtful", "flag", extension=".wav")
def wav_almost_silent(rng: Rng) -> Columns:
    """The last bit toggles: a microphone that was never plugged in."""
    return heard(rng, wav(rng.integers(-1, 2, int(rng.integers(8000, 30000))) / 32767, 16000))


@kinds("doubtful", "flag", extension=".wav")
def wav_clipped(rng: Rng) -> Columns:
    return heard(rng, wav(np.clip(_speech(rng) * 500, -1, 1), 16000))


@kinds("doubtful", "flag", extension=".wav")
def wav_constant(rng: Rng) -> Columns:
    """Direct current: every sample has the same value."""
    return heard(rng, wav(np.full(int(rng.integers(8000, 30000)), rng.uniform(0.1, 0.9)), 16000))


@kinds("unusable", "reject", extension=".wav")
def wav_of_wrong_duration(rng: Rng) -> Columns:
    samples = _speech(rng)
    stated = len(samples) / 16000 * float(rng.choice([0.3, 2.0, 7.0]))
    return {**heard(rng, wav(samples, 16000)), "meta": {"duration": round(stated, 2)}}


@kinds("unusable", "reject", extension=".wav")
def wav_of_an_hour(rng: Rng) -> Columns:
    """Longer than the project allows, at a low rate."""
    samples = np.tile(voice(rng, 1.0, 4000) * 0.5, 1800)
    return heard(rng, wav(samples, 4000, bits=8))


# Clips ---------------------------------------------------------------------------------------------------------------


def _moving(rng: Rng) -> bytes:
    return clip(frames(rng, int(rng.integers(5, 10))), 100)


@kinds("undecodable", "reject")
def apng_cut(rng: Rng) -> Columns:
    data = _moving(rng)
    return told(rng, data[: int(len(data) * rng.uniform(0.4, 0.8))])


@kinds("undecodable", "reject")
def apng_broken_frame(rng: Rng) -> Columns:
    """The third frame's stream cannot be inflated; its check sum fits."""
    chunks = png_chunks(_moving(rng))
    places = [place for place, (name, _) in enumerate(chunks) if name == b"fdAT"]
    body = bytearray(chunks[places[1]][1])
    body[12:40] = b"\xff" * 28
    chunks[places[1]] = (b"fdAT", bytes(body))
    return told(rng, png_of(chunks))


@kinds("undecodable", "reject")
def apng_missing_frame(rng: Rng) -> Columns:
    """The header states more frames than there are."""
    chunks = png_chunks(_moving(rng))
    last = max(place for place, (name, _) in enumerate(chunks) if name == b"fcTL")
    return told(rng, png_of([*chunks[:last], chunks[-1]]))


@kinds("undecodable", "reject", extension=".gif")
def gif_clip_cut(rng: Rng) -> Columns:
    """Cut inside a frame."""
    data = clip(frames(rng, 6), 100, "GIF")
    return told(rng, data[: int(len(data) * rng.uniform(0.5, 0.6))])


@kinds("undecodable", "reject", extension=".webp")
def webp_clip_cut(rng: Rng) -> Columns:
    data = clip(frames(rng, 6), 100, "WEBP")
    return told(rng, data[: int(len(data) * rng.uniform(0.3, 0.8))])


@kinds("undecodable", "reject", extension=".mp4")
def clip_of_zeros(rng: Rng) -> Columns:
    return told(rng, bytes(int(rng.integers(3000, 40000))))


@kinds("undecodable", "reject", extension=".mp4")
def clip_never_finished(rng: Rng) -> Columns:
    """An MP4 whose recorder stopped before it wrote where the frames are."""
    start = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"isom", 512, b"isom", b"mp42")
    media = rng.bytes(int(rng.integers(3000, 9000)))
    return told(rng, start + struct.pack(">I4s", 8 + len(media), b"mdat") + media)


@kinds("undecodable", "reject", extension=".mp4")
def web_page_as_clip(rng: Rng) -> Columns:
    return told(rng, f"<!doctype html><title>Video unavailable</title><p>{rng.integers(1e9)}".encode())


@kinds("doubtful", "flag")
def clip_of_one_frame(rng: Rng) -> Columns:
    return told(rng, encoded(photo(rng, 64, 48)))


@kinds("doubtful", "flag")
def clip_of_no_duration(rng: Rng) -> Columns:
    return told(rng, clip(frames(rng, 6), 0))


@kinds("doubtful", "flag")
def frozen_clip(rng: Rng) -> Columns:
    """Eight times the same frame."""
    picture = photo(rng, 64, 48)
    chunks = png_chunks(clip([picture, photo(rng, 64, 48)] * 4, 100))
    still = next(body for name, body in chunks if name == b"IDAT")
    return told(rng, png_of([(name, body[:4] + still if name == b"fdAT" else body) for name, body in chunks]))


@kinds("unusable", "reject")
def clip_of_wrong_duration(rng: Rng) -> Columns:
    stated = float(rng.choice([0.2, 2.5, 30.0])) * 0.6
    return {**told(rng, clip(frames(rng, 6), 100)), "meta": {"duration": round(stated, 2)}}


@kinds("unusable", "reject", extension=".gif")
def clip_of_an_hour(rng: Rng) -> Columns:
    """Few small frames, each shown for minutes."""
    return told(rng, clip(frames(rng, 8), 500_000, "GIF"))


@kinds("unusable", "reject", extension=".gif")
def clip_of_tiny_frames(rng: Rng) -> Columns:
    return told(rng, many_frames_gif(20, int(rng.integers(1, 5)), int(rng.integers(1, 5)), seed=int(rng.integers(256))))
