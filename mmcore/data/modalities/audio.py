"""Speech and sound, mixed to mono: log-mel bands, or the samples themselves.

WAV (integer PCM of 8 to 32 bits, float of 32 or 64) is read here; Ogg, FLAC, MP3 and the sound of films through PyAV.
"""

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcore.data.modalities import Limits, Media
from mmcore.data.modalities._container import (
    Header,
    audio_header,
    check_seconds,
    check_sound,
    container_of,
    read_audio,
)
from mmcore.settings import PrepareSettings

WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# What stands for the size of a WAV that was written as a stream, before its length was known.
_UNKNOWN_SIZE = 0xFFFFFFFF
_FORMATS = {
    (_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "24", (_PCM, 32): "<i4", (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8"
}  # fmt: skip


class Modality:
    """Sound, mono."""

    suffixes = (".wav", ".ogg", ".oga", ".opus", ".mp3", ".flac", ".m4a", ".aac")
    numbers = ("seconds", "loudness", "peak", "silence", "crossings")
    varies = True

    def decode(self, data: bytes, limits: Limits) -> Media:
        """float32 [samples] in -1 to 1 and the rate; ValueError with the reason if the bytes are no readable sound."""
        if container_of(data):
            return read_audio(data, limits)
        code, channels, rate, bits, body = _read_wav(data, limits)
        mono = _to_float(body, code, bits).reshape(-1, channels).mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise ValueError("the audio holds values that are no numbers")
        return Media(np.clip(mono, -1, 1), round(len(mono) / rate, 6), float(rate))

    def header(self, data: bytes, limits: Limits) -> Header:
        """Format, rate, channels and length, with nothing decoded; ValueError where `decode` would refuse by them."""
        if container_of(data):
            return audio_header(data, limits)
        _, channels, rate, bits, body = _read_wav(data, limits)
        return Header("WAV", len(body) // (bits // 8 * channels) / rate, float(rate), channels=channels)

    def transform(self, media: Media, prepare: PrepareSettings) -> NDArray[np.float16]:
        """float16 [T, `frame_size`]: of every 10 ms of at most `audio_seconds`, resampled to `audio_rate`, the log-mel
        bands, or, without `audio_mels`, the samples.

        Bands are scaled as Whisper does (Radford et al. 2022): log10, at most 8 below the loudest, plus 4, over 4.
        """
        samples = media.array[: int(np.ceil(prepare.audio_seconds * media.rate))]
        samples = resample(samples, int(media.rate), prepare.audio_rate)
        window, hop = int(WINDOW_SECONDS * prepare.audio_rate), int(HOP_SECONDS * prepare.audio_rate)
        if prepare.audio_mels is None:
            return np.pad(samples, (0, -len(samples) % hop)).reshape(-1, hop).astype(np.float16)
        samples = np.pad(samples, (0, max(0, window - len(samples))))
        frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
        size = 1 << (window - 1).bit_length()
        spectrum = np.fft.rfft(frames * np.hanning(window).astype(np.float32), size)
        power = spectrum.real**2 + spectrum.imag**2
        # Band by band: one product of the whole matrices would depend on, and fight over, BLAS threads.
        bands = mel_bands(prepare.audio_rate, size, prepare.audio_mels)
        mel = np.stack([power[:, low:high] @ weights for low, high, weights in bands], axis=1)
        mel = np.log10(np.maximum(mel, 1e-10))
        scaled: NDArray[np.float16] = ((np.maximum(mel, mel.max() - 8) + 4) / 4).astype(np.float16)
        return scaled

    def largest(self, prepare: PrepareSettings) -> NDArray[np.float16]:
        """Zeros of the shape and type of a prepared recording of `audio_seconds`."""
        return np.zeros((round(prepare.audio_seconds / HOP_SECONDS), frame_size(prepare)), np.float16)

    def describe(self, media: Media) -> dict[str, float]:
        """seconds, loudness and peak in dB of full scale, share of silence, zero crossings a second in kHz."""
        samples = media.array
        power = samples.astype(np.float64) ** 2
        block = max(1, int(media.rate * WINDOW_SECONDS))
        whole = power[: len(power) // block * block].reshape(-1, block).mean(axis=1) if len(power) >= block else power
        crossings = np.count_nonzero(np.diff(np.signbit(samples)))
        return {
            "seconds": media.seconds,
            "loudness": float(10 * np.log10(power.mean() + 1e-10)),
            "peak": float(20 * np.log10(np.abs(samples).max() + 1e-5)),
            "silence": float(np.mean(whole < 1e-4)),
            "crossings": float(crossings / max(media.seconds, 1e-9) / 1000),
        }


def frame_size(prepare: PrepareSettings) -> int:
    """How many numbers 10 ms of sound are."""
    return int(HOP_SECONDS * prepare.audio_rate) if prepare.audio_mels is None else prepare.audio_mels


def _read_wav(data: bytes, limits: Limits) -> tuple[int, int, int, int, bytes]:
    """What `_read_chunks` gives, checked and without a last sample that is cut off.

    ValueError for a kind of WAV that is not read or cannot be, that holds no samples or exceeds the limits.
    """
    code, channels, rate, bits, body = _read_chunks(data)
    if (code, bits) not in _FORMATS:
        raise ValueError(f"the audio is WAV of a kind that is not supported (format {code}, {bits} bits)")
    check_sound(rate, channels)
    size = bits // 8 * channels
    if not (num_samples := len(body) // size):
        raise ValueError("the audio holds no samples")
    check_seconds("audio", num_samples / rate, limits)
    if limits.whole and missing(data):
        raise ValueError(f"the audio is cut off after {num_samples / rate:.1f} seconds: its header promises more")
    return code, channels, rate, bits, body[: num_samples * size]


def _read_chunks(data: bytes) -> tuple[int, int, int, int, bytes]:
    """Format code, channels, rate, bits and the sample bytes. Sizes in the header are believed only within `data`."""
    if not data:
        raise ValueError("the audio is empty (0 bytes)")
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("the audio is of no known kind: neither WAV nor Ogg, FLAC, MP3, MP4, Matroska or AVI")
    header = b""
    for name, _, body in wav_chunks(data):
        if name == b"fmt ":
            header = body
        elif name == b"data":
            if len(header) < 16:
                raise ValueError("the audio cannot be decoded: its WAV header is broken")
            code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", header)
            if block != channels * (bits // 8):
                raise ValueError(f"the audio cannot be decoded: its WAV header states blocks of {block} bytes for "
                                 f"{channels} channels of {bits} bits")  # fmt: skip
            if code == _EXTENSIBLE and len(header) >= 26:
                code = struct.unpack_from("<H", header, 24)[0]
            return code, channels, rate, bits, body
    raise ValueError("the audio cannot be decoded: it has no samples (WAV without a data chunk)")


def missing(data: bytes) -> float:
    """The share of the sample bytes that a WAV's header promises and the file does not hold."""
    size, there = next((size, len(body)) for name, size, body in wav_chunks(data) if name == b"data")
    return 1 - there / size if there < size != _UNKNOWN_SIZE else 0.0


def wav_chunks(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """The name of each chunk of a WAV, the size that it states, and as much of its content as there is."""
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        yield name, size, data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _to_float(body: bytes, code: int, bits: int) -> NDArray[np.float32]:
    if bits == 24:
        parts = np.frombuffer(body, np.uint8).reshape(-1, 3).astype(np.int32)
        values = (parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24) >> 8
        return (values / 2**23).astype(np.float32)
    raw: NDArray[Any] = np.frombuffer(body, _FORMATS[code, bits])
    if code == _FLOAT:
        return raw.astype(np.float32)
    middle, reach = (128.0, 128.0) if bits == 8 else (0.0, 2.0 ** (bits - 1))
    return np.asarray((raw - middle) / reach, np.float32)


def resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """`samples` at another rate, band-limited: the spectrum is cut or extended."""
    if rate == new_rate:
        return samples
    length = max(1, round(len(samples) * new_rate / rate))
    spectrum = np.fft.rfft(samples.astype(np.float64))
    wanted = length // 2 + 1
    spectrum = np.pad(spectrum[:wanted], (0, max(0, wanted - len(spectrum))))
    changed: NDArray[np.float64] = np.fft.irfft(spectrum, length) * (length / len(samples))
    return changed.astype(np.float32)


@cache
def mel_bands(rate: int, size: int, bands: int) -> list[tuple[int, int, NDArray[np.float32]]]:
    """Triangles evenly spaced on the mel scale 2595 log10(1 + f / 700), from 0 to rate / 2.

    Each as the first and last + 1 of the `size / 2 + 1` frequencies that it covers, and their weights.
    """
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, size // 2 + 1)
    found = []
    for left, middle, right in zip(edges, edges[1:], edges[2:], strict=False):
        weights = np.minimum((frequencies - left) / (middle - left), (right - frequencies) / (right - middle))
        covered = np.flatnonzero(weights > 0)
        if len(covered) == 0:  # a band narrower than the grid takes the frequency nearest to its middle
            covered = np.array([np.abs(frequencies - middle).argmin()])
            weights[covered] = 1
        low, high = int(covered[0]), int(covered[-1]) + 1
        found.append((low, high, weights[low:high].astype(np.float32)))
    return found
