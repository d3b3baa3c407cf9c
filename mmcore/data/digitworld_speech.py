"""DigitWorld's voices: every letter is a sound with two formants, sung on the pulses of a speaker's pitch.

A pulse excites two damped sinusoids (the letter's formants, scaled by the speaker's vocal tract); pulses follow each
other one pitch period apart and overlap. Hissing letters get pulses of random sign. No speech by human standards, but
spelled regularly: what it says can be learned.
"""

import struct

import numpy as np
from numpy.typing import NDArray

RATE = 8000
# Formants in Hz, loudness; the letters of _HISSING have noise for a voice.
_LETTERS = {
    "a": (740, 1300, 1.0), "b": (260, 800, 0.5), "c": (1700, 2900, 0.4), "d": (280, 1700, 0.5), "e": (530, 1850, 1.0),
    "f": (1200, 3000, 0.3), "g": (260, 1350, 0.5), "h": (900, 1600, 0.3), "i": (340, 2250, 0.9),
    "j": (300, 2000, 0.5), "k": (1450, 2600, 0.4), "l": (390, 1050, 0.8), "m": (250, 1000, 0.7),
    "n": (270, 1500, 0.7), "o": (500, 880, 1.0), "p": (700, 1900, 0.3), "q": (1400, 2450, 0.4), "r": (430, 1250, 0.8),
    "s": (2550, 3200, 0.4), "t": (2100, 3050, 0.4), "u": (320, 950, 0.9), "v": (290, 1150, 0.5), "w": (310, 700, 0.7),
    "x": (2350, 3150, 0.4), "y": (290, 2100, 0.8), "z": (300, 2700, 0.5), " ": (500, 1500, 0.0),
}  # fmt: skip
_PLACE = {letter: place for place, letter in enumerate(_LETTERS)}
_FORMANTS = np.array([values[:2] for values in _LETTERS.values()], np.float64)
_LOUDNESS = np.array([values[2] for values in _LETTERS.values()], np.float64)
_HISSING = np.isin(list(_LETTERS), list("cfhkpqstx"))
_BANDWIDTHS = np.array([70.0, 110.0])
_TAIL = 3


def speak(rng: np.random.Generator, text: str) -> NDArray[np.int16]:
    """int16 [samples] at 8 kHz: `text` (lower-case letters and blanks) in the voice of a random speaker."""
    pitch, letter_seconds = rng.uniform(95, 230), rng.uniform(0.028, 0.042)
    tract, loudness = rng.uniform(0.88, 1.15), rng.uniform(0.35, 0.9)
    period = round(RATE / pitch)
    places = np.array([_PLACE[letter] for letter in text if letter in _PLACE])
    lengths = letter_seconds * rng.uniform(0.8, 1.25, len(places)) * np.where(places == _PLACE[" "], 0.7, 1.0)
    # Letters end where their time ends, so that rounding to whole pulses does not add up.
    ends = np.round(np.cumsum(lengths) * RATE / period).astype(int)
    pulses = np.repeat(places, np.diff(ends, prepend=0))
    wave = _overlap(pulses, _grains(tract, period), rng)
    wave = _bend(wave, rng)
    wave += 0.012 * (rng.integers(-128, 128, len(wave), dtype=np.int8) / 64.0)
    samples: NDArray[np.int16] = np.round(wave * (loudness * 32000 / np.abs(wave).max())).astype(np.int16)
    return samples


def _grains(tract: float, period: int) -> NDArray[np.float64]:
    """[letters, tail x period]: what one pulse of each letter sounds like, with this vocal tract."""
    time = np.arange(_TAIL * period) / RATE
    formants = np.minimum(_FORMANTS * tract, RATE / 2 - 100)
    waves = np.sin(2 * np.pi * formants[:, :, None] * time) * np.exp(-np.pi * _BANDWIDTHS[:, None] * time)
    return (waves[:, 0] + 0.7 * waves[:, 1]) * _LOUDNESS[:, None]


def _overlap(pulses: NDArray[np.int64], grains: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """[samples]: the grains of the pulses, each one period after the one before."""
    period = grains.shape[1] // _TAIL
    signs = np.where(_HISSING[pulses], rng.choice((-1.0, 1.0), len(pulses)), 1.0) * rng.uniform(0.9, 1.1, len(pulses))
    sounds = grains[pulses] * signs[:, None]
    wave = np.zeros((len(pulses) + _TAIL - 1, period))
    for part in range(_TAIL):
        wave[part : part + len(pulses)] += sounds[:, part * period : (part + 1) * period]
    return wave.ravel()


def _bend(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The wave played a little faster and slower over time: the melody of the sentence."""
    knots = np.cumsum(rng.uniform(0.94, 1.06, 6))
    path = np.interp(np.linspace(0, 5, len(wave)), np.arange(6), (knots - knots[0]) / (knots[-1] - knots[0]))
    bent: NDArray[np.float64] = np.interp(path * (len(wave) - 1), np.arange(len(wave)), wave)
    return bent


def wav(samples: NDArray[np.int16]) -> bytes:
    """16-bit mono WAV at 8 kHz."""
    body = samples.astype("<i2").tobytes()
    return (
        b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16) + b"data" + struct.pack("<I", len(body)) + body
    )  # fmt: skip
