"""What is measured of recordings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcore.data.modalities import MODALITIES, UNLIMITED
from mmcore.data.modalities.audio import missing
from mmcore.quality import fingerprints
from mmcore.quality.probes.numbers import rounded

_AUDIO = MODALITIES["audio"]()
# Rates that recorders and data sets use; others are the sign of a conversion, or of a broken header.
USUAL_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
_AT_PEAK = 0.9985
_QUIET = 0.1
_PART_SECONDS, _WEAK = 0.02, 1e-3


def probe_audio(data: bytes, max_seconds: float, facts: dict[str, Any]) -> None:
    """Add what can be said of a recording to `facts`; ValueError with the reason if it cannot be decoded.

    One that its header shows to be longer than `max_seconds` is not decoded.
    """
    header = _AUDIO.header(data, UNLIMITED)
    facts |= {
        "audio_format": header.format, "audio_rate": round(header.rate), "audio_channels": header.channels,
        "audio_seconds": rounded(header.seconds),
        "audio_missing": rounded(missing(data)) if header.format == "WAV" else 0.0,
    }  # fmt: skip
    if header.seconds > max_seconds:
        return
    media = _AUDIO.decode(data, UNLIMITED)
    samples = media.array
    facts["audio_ok"] = True
    facts |= {f"audio_{key}": rounded(value) for key, value in _AUDIO.describe(media).items()}
    facts["audio_range"] = rounded(float(np.ptp(samples)))
    facts["audio_offset"] = rounded(abs(float(samples.mean(dtype=np.float64))))
    facts["audio_quiet"] = rounded(_quiet(samples, media.rate))
    facts["audio_clipping"] = rounded(_clipping(samples))
    facts["audio_fingerprint"] = fingerprints.of_audio(samples, media.rate)
    if header.channels > 1:
        facts["repairs"].append("mixed_down")
    if facts["audio_rate"] not in USUAL_RATES:
        facts["repairs"].append("resampled")


def _clipping(samples: NDArray[np.float32]) -> float:
    """The share of samples that stay at the recording's peak without moving, as no sound does that was not cut off."""
    size = np.abs(samples)
    peak = float(size.max())
    if len(samples) < 3 or peak < _QUIET:
        return 0.0
    held = (size[1:-1] >= _AT_PEAK * peak) & (samples[:-2] == samples[1:-1]) & (samples[1:-1] == samples[2:])
    return float(np.mean(held))


def _quiet(samples: NDArray[np.float32], rate: float) -> float:
    """The share of the recording that is a thousand times weaker than its loudest part."""
    length = max(1, round(_PART_SECONDS * rate))
    whole = samples[: max(1, len(samples) // length) * length]
    parts = np.array([part.std() for part in np.array_split(whole, max(1, len(whole) // length))])
    return float(np.mean(parts < _WEAK * parts.max()))
