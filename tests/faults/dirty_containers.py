"""Clips and recordings in the containers of cameras and recorders: sound ones, and ones that came to harm."""

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.faults.dirty_bombs import told
from tests.faults.dirty_clean import Picture, Rng, frames, photo, voice, wav
from tests.faults.dirty_kinds import Columns, Kinds
from tests.faults.dirty_media import heard

kinds = Kinds()

# Not H.264: its encoder gives other bytes each time.
CLIPS = {"mp4": "mpeg4", "mov": "mpeg4", "matroska": "mpeg4", "avi": "mpeg4", "webm": "libvpx"}
RECORDINGS = {"flac": ("flac", "s16"), "ogg": ("libopus", "s16"), "mp3": ("libmp3lame", "s16p")}
EXTENSIONS = {"matroska": ".mkv"}


def filmed(pictures: Sequence[Picture], container: str = "mp4", *, rate: int = 10) -> bytes:
    """The pictures as a clip of so many frames a second."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options={"fflags": "+bitexact"}) as output:
        stream: Any = output.add_stream(CLIPS[container], rate=rate)
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_image(picture)))
        output.mux(stream.encode(None))
    return file.getvalue()


def recorded(samples: NDArray[Any], rate: int, container: str) -> bytes:
    """Samples in -1 to 1 as a compressed recording."""
    codec, form = RECORDINGS[container]
    file = io.BytesIO()
    with av.open(file, "w", format=container, options={"fflags": "+bitexact"}) as output:
        stream: Any = output.add_stream(codec, rate=rate, layout="mono", options={"serial_offset": "1"})
        whole = (samples * 30000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        for part in av.AudioResampler(format=form, layout="mono", rate=rate).resample(frame):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def sound_clip(rng: Rng) -> tuple[bytes, float, str]:
    """A clip, its length in seconds, its extension."""
    container, rate, count = str(rng.choice(list(CLIPS))), int(rng.choice([10, 15, 25])), int(rng.integers(6, 16))
    extension = EXTENSIONS.get(container, f".{container}")
    return filmed(frames(rng, count, 96, 64), container, rate=rate), count / rate, extension


def sound_recording(rng: Rng) -> tuple[bytes, float, str]:
    """A compressed recording, its length in seconds, its extension."""
    container, rate = str(rng.choice(list(RECORDINGS))), int(rng.choice([16000, 24000, 48000]))
    samples = voice(rng, float(rng.uniform(0.8, 2.0)), rate) * 10 ** (-rng.uniform(3, 25) / 20)
    return recorded(samples, rate, container), len(samples) / rate, f".{container}"


def _film(rng: Rng, container: str = "mp4") -> bytes:
    return filmed(frames(rng, 10, 96, 64), container)


def _speech(rng: Rng) -> NDArray[np.float64]:
    return voice(rng, float(rng.uniform(1.0, 2.0)), 16000) * 0.5


def _cut(rng: Rng, data: bytes) -> bytes:
    return data[: int(len(data) * rng.uniform(0.3, 0.7))]


@kinds("undecodable", "reject", extension=".mp4")
def mp4_cut(rng: Rng) -> Columns:
    """What says where the frames are stands at the end, which is missing."""
    return told(rng, _cut(rng, _film(rng)))


@kinds("undecodable", "reject", extension=".mkv")
def mkv_cut(rng: Rng) -> Columns:
    """The header states a length; a third of it is there."""
    data = filmed(frames(rng, 30, 96, 64), "matroska")
    return told(rng, data[: len(data) // 3])


@kinds("undecodable", "reject", extension=".avi")
def avi_half_zeros(rng: Rng) -> Columns:
    data = _film(rng, "avi")
    half = len(data) // 3
    return told(rng, data[:half] + bytes(len(data) - half))


@kinds("undecodable", "reject", extension=".mp4")
def mp4_garbled(rng: Rng) -> Columns:
    """The frames are random bytes; the index is whole."""
    data = bytearray(_film(rng))
    start = data.index(b"mdat") + 4
    stop = data.rindex(b"moov") - 4
    data[start:stop] = rng.bytes(stop - start)
    return told(rng, bytes(data))


@kinds("undecodable", "reject", extension=".mp4")
def recording_as_clip(rng: Rng) -> Columns:
    return told(rng, recorded(_speech(rng), 16000, "mp3"))


@kinds("bomb", "reject", extension=".mp4")
def mp4_of_many_frames(rng: Rng) -> Columns:
    """Three thousand tiny frames at three hundred a second: short, and far more frames than a clip may have."""
    return told(rng, filmed([photo(rng, 32, 32)] * 3000, rate=300))


@kinds("bomb", "reject", extension=".mp4")
def mp4_of_large_frames(rng: Rng) -> Columns:
    """Eight plain frames of 4000 x 2000: 200 MB as RGB."""
    plain = photo(rng, 1, 1).resize((4000, 2000))
    return told(rng, filmed([plain] * 8, rate=25))


@kinds("undecodable", "reject", extension=".flac")
def flac_cut(rng: Rng) -> Columns:
    return heard(rng, _cut(rng, recorded(_speech(rng), 16000, "flac")))


@kinds("undecodable", "reject", extension=".flac")
def flac_garbled(rng: Rng) -> Columns:
    data = bytearray(recorded(_speech(rng), 16000, "flac"))
    place = len(data) // 2
    data[place : place + 4000] = rng.bytes(min(4000, len(data) - place))
    return heard(rng, bytes(data))


@kinds("undecodable", "reject", extension=".ogg")
def ogg_header_alone(rng: Rng) -> Columns:
    return heard(rng, recorded(_speech(rng), 16000, "ogg")[:200])


@kinds("repairable", "repaired", extension=".wav")
def mp3_named_wav(rng: Rng) -> Columns:
    return heard(rng, recorded(_speech(rng), 16000, "mp3"))


@kinds("repairable", "repaired", extension=".mp3")
def wav_named_mp3(rng: Rng) -> Columns:
    return heard(rng, wav(_speech(rng), 16000))
