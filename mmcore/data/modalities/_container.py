"""Films and recordings as people have them: MP4, MOV, Matroska, WebM, AVI, Ogg, FLAC and MP3, through PyAV.

PyAV (the extra `media`) is imported here and nowhere else, when the first such file is met. A file is opened only as
the container that its first bytes show, so none can make FFmpeg follow a play list to another file or to the network.
"""

import importlib
import io
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcore.data.modalities import Limits, Media

NAMES = {
    "mov": "MP4 or MOV", "matroska": "Matroska or WebM", "avi": "AVI", "ogg": "Ogg", "flac": "FLAC", "mp3": "MP3"
}  # fmt: skip
RATES = (1000, 384000)
MAX_CHANNELS = 32
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
# The library looks at the first packets by itself, before a limit can be checked: little may come of that.
_PROBING = {"max_pixels": "9000000", "max_streams": "64", "probesize": "1000000", "enable_drefs": "0"}
# FFmpeg's flags: bilinear chroma, accurate rounding, bit-exact: the same colours on every processor.
_EXACT = 0x2 | 0x40000 | 0x80000
_BUFFER = 16384
_BYTES_A_SECOND = 100_000_000
_ATTACHED_PICTURE = 0x400


@dataclass(frozen=True)
class Header:
    """What a file holds, told without decoding it: its packets are counted, not what its head claims.

    `format`: as people call it. Clips: `width`, `height` as stored, `num_frames`. Sounds: `channels`.
    `rate`: frames or samples a second. `seconds`: the length.
    """

    format: str
    seconds: float
    rate: float
    width: int = 0
    height: int = 0
    num_frames: int = 0
    channels: int = 0


def container_of(data: bytes) -> str | None:
    """The container that the first bytes show, a key of `NAMES`; None if it is none of them."""
    if data[4:8] in _MOV_BOXES:
        return "mov"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "avi"
    for magic, name in ((b"\x1a\x45\xdf\xa3", "matroska"), (b"OggS", "ogg"), (b"fLaC", "flac"), (b"ID3", "mp3")):
        if data.startswith(magic):
            return name
    # Without a tag an MP3 starts with a frame: eleven bits set, and a layer (AAC has none).
    is_frame = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] & 0x06 != 0
    return "mp3" if is_frame else None


def video_header(data: bytes, limits: Limits) -> Header:
    """The header of a clip; ValueError if it cannot be read, is cut off or exceeds the limits."""
    with _opened(data, "video", seconds=_patience(data)) as (container, stream):
        context = stream.codec_context
        width, height = context.width, context.height
        count, seconds = 0, 0.0
        for count, seconds in _packets(container, stream, "video"):
            check_seconds("video", seconds, limits)
            if count > limits.max_frames:
                raise ValueError(f"the video has {_more_than(stream, count)} frames, more than {limits.max_frames}")
            if count * width * height > limits.max_pixels:
                raise ValueError(
                    f"the video has {_more_than(stream, count)} frames of {width} x {height} pixels,"
                    f" more than {limits.max_pixels} pixels in all"
                )
        name = NAMES[container.format.name.split(",")[0]]
        if not count:
            raise ValueError("the video holds no frames")
        if not width or not height:
            raise ValueError(f"the video's frames have no size, or one of more than {_PROBING['max_pixels']} pixels")
        if (name == NAMES["mov"] and stream.frames > count) or _is_short(data):
            raise ValueError(f"the video is cut off: {count} of its frames are there")
    return Header(name, seconds, count / seconds if seconds else 0.0, width, height, count)


def read_video(data: bytes, limits: Limits) -> Media:
    """uint8 [F, H, W, 3] RGB, turned upright as the file says; ValueError with the reason if that is not to be had."""
    header = video_header(data, limits)
    frames: NDArray[np.uint8] | None = None
    count = 0
    # Decoders make room around a frame; one that is much larger than the header says is not decoded.
    room = (header.width + 256) * (header.height + 256)
    for frame in _decoded(data, "video", {"max_pixels": str(room)}):
        turned = np.rot90(_rgb(frame), round(frame.rotation / 90) % 4)
        if frames is None:
            frames = np.empty((header.num_frames, *turned.shape), np.uint8)
        if turned.shape != frames.shape[1:]:
            raise ValueError("the video changes the size of its frames on the way")
        if count == len(frames):
            raise ValueError(f"the video has more frames than the {count} that it was said to have")
        frames[count] = turned
        count += 1
    if frames is None:
        raise ValueError("the video holds no frames that can be decoded")
    return Media(frames[:count], header.seconds, count / header.seconds if header.seconds else 0.0)


def audio_header(data: bytes, limits: Limits) -> Header:
    """The header of a recording; ValueError if it cannot be read, is cut off or exceeds the limits."""
    with _opened(data, "audio", seconds=_patience(data)) as (container, stream):
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        check_sound(rate, channels)
        seconds = None
        for _, seconds in _packets(container, stream, "audio"):
            check_seconds("audio", seconds, limits)
        if seconds is None:
            raise ValueError("the audio holds no samples")
        name = NAMES[container.format.name.split(",")[0]]
        stated = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if name == NAMES["ogg"] and not _ends_as_ogg(data):
        raise ValueError(f"the audio is cut off after {seconds:.1f} seconds: its last page is missing")
    # Others guess their length. An MP3 states it in a first frame that holds no sound, if it has one.
    states_length = name in (NAMES["flac"], NAMES["mov"]) or b"Xing" in data[:65536] or b"Info" in data[:65536]
    if _is_short(data) or (states_length and seconds < stated - 0.5):
        raise ValueError(f"the audio is cut off after {seconds:.1f} of {stated:.1f} seconds")
    return Header(name, seconds, float(rate), channels=channels)


def read_audio(data: bytes, limits: Limits) -> Media:
    """float32 [samples] in -1 to 1, the mean of all channels; ValueError with the reason if that is not to be had."""
    header = audio_header(data, limits)
    blocks: list[NDArray[np.float32]] = []
    most = limits.max_seconds * header.rate
    num_samples = 0
    for frame in _decoded(data, "audio", {"flags": "+bitexact"}):
        if frame.sample_rate != header.rate or frame.layout.nb_channels > MAX_CHANNELS:
            raise ValueError("the audio changes its rate or its channels on the way")
        blocks.append(_mono(frame))
        num_samples += len(blocks[-1])
        if num_samples > most:
            raise ValueError(f"the audio lasts longer than {limits.max_seconds:g} seconds")
    if not num_samples:
        raise ValueError("the audio holds no samples")
    # FLAC states how many samples it holds; the library passes over blocks whose checksum is wrong.
    if header.format == "FLAC" and num_samples < round(header.seconds * header.rate):
        raise ValueError("the audio is damaged: a part of it cannot be decoded")
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise ValueError("the audio holds values that are no numbers")
    return Media(np.clip(samples, -1, 1), round(num_samples / header.rate, 6), header.rate)


# The library ---------------------------------------------------------------------------------------------------------


def _library(format: str, what: str) -> ModuleType:
    try:
        return importlib.import_module("av")
    except ModuleNotFoundError:
        raise ValueError(
            f"the {what} is {NAMES[format]}, which needs PyAV; in mmcore's checkout: pip install -e '.[media]'"
        ) from None


@contextmanager
def _opened(data: bytes, what: str, *, seconds: float = math.inf) -> Iterator[tuple[Any, Any]]:
    """The container and its first stream of the kind `what`; whatever the library raises becomes a ValueError.

    `seconds`: of computing, after which no more of the file is read.
    """
    format = container_of(data)
    assert format is not None
    av = _library(format, what)
    try:
        file = _Bounded(data, what, seconds)
        options = {"options": _PROBING, "buffer_size": _BUFFER, "metadata_errors": "replace"}
        with av.open(file, "r", format=format, **options) as container:
            streams = [stream for stream in container.streams if stream.type == what and not _is_cover(stream)]
            if not streams or streams[0].codec_context is None:
                raise ValueError(f"the {what} is {NAMES[format]} without a stream of {what} that can be decoded")
            yield container, streams[0]
    except av.FFmpegError as error:
        raise ValueError(f"the {what} cannot be decoded: {_reason(error)}") from None


class _Bounded(io.BytesIO):
    """The bytes of a file, which refuse to be read on after some seconds of computing.

    The library searches some broken files again and again; it asks for bytes often enough to be stopped here. Counting
    packets takes a hundredth of that time in a sound file; decoding is bounded by the limits instead.
    """

    def __init__(self, data: bytes, what: str, seconds: float) -> None:
        super().__init__(data)
        self._what, self._deadline, self._stopped = what, time.thread_time() + seconds, False

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stopped:
            return b""  # the library goes on asking; it remembers the first error only
        if time.thread_time() > self._deadline:
            self._stopped = True
            raise ValueError(f"the {self._what} is broken: looking for its packets takes too long")
        return super().read(size)


def _patience(data: bytes) -> float:
    """How many seconds the packets of a file may take to be counted."""
    return 1 + len(data) / _BYTES_A_SECOND


def _is_cover(stream: Any) -> bool:
    """Whether a video stream is a picture that belongs to a recording."""
    return bool(int(stream.disposition) & _ATTACHED_PICTURE)


def _packets(container: Any, stream: Any, what: str) -> Iterator[tuple[int, float]]:
    """After each packet of the stream: how many there were, and how many seconds they cover."""
    times: list[int] = []
    covered = count = 0
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt:
            raise ValueError(f"the {what} is cut off or damaged after {count} of its packets")
        count += 1
        # Lengths that cannot be are those of an end that was cut by a sample or two.
        duration = packet.duration if packet.duration and 0 < packet.duration < 1 << 31 else 0
        covered += duration
        at = packet.pts if packet.pts is not None else packet.dts
        if at is not None:
            times = [min(at, *times[:1]), max(at + duration, *times[1:])] if times else [at, at + duration]
        # Times may be missing or all the same: the packets' own lengths count as well.
        span = max(covered, times[1] - times[0] if times else 0)
        yield count, round(float(span * stream.time_base), 6)


def _decoded(data: bytes, what: str, options: dict[str, str]) -> Iterator[Any]:
    """The frames of the stream, decoded one at a time, by one thread: threads hold several at once."""
    with _opened(data, what) as (container, stream):
        stream.codec_context.options = options
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise ValueError(f"the {what} is damaged: a part of it cannot be decoded")
            yield frame


def _rgb(frame: Any) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = frame.to_ndarray(format="rgb24", interpolation=_EXACT)
    return array


def _mono(frame: Any) -> NDArray[np.float32]:
    channels = frame.layout.nb_channels
    array = frame.to_ndarray()
    by_channel = array if frame.format.is_planar else array.reshape(-1, channels).T
    if np.issubdtype(array.dtype, np.integer):
        reach = 2.0 ** (array.dtype.itemsize * 8 - 1)
        middle = reach if array.dtype == np.uint8 else 0.0
        by_channel = (by_channel - middle) / reach
    return np.asarray(by_channel.mean(axis=0, dtype=np.float64), np.float32)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


# What containers tell about their end --------------------------------------------------------------------------------


def _is_short(data: bytes) -> bool:
    """Whether an AVI, MP4 or Matroska file is shorter than its outermost elements say."""
    if data[:4] == b"RIFF":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[4:8] in _MOV_BOXES:
        return _is_short_mov(data)
    if data[:4] != b"\x1a\x45\xdf\xa3":
        return False
    head, place = _element_size(data, 4)
    segment = place + (head or 0)
    size, place = _element_size(data, segment + 4)
    return data[segment : segment + 4] == b"\x18\x53\x80\x67" and size is not None and place + size > len(data)


def _is_short_mov(data: bytes) -> bool:
    place = 0
    while place + 8 <= len(data):
        size, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if size == 1:
            size = int.from_bytes(data[place + 8 : place + 16], "big")
        if size < 8:  # 0: up to the end; others are what some cameras append
            return False
        place += size
        if place > len(data):
            return name in (b"moov", b"moof", b"mdat")
    return False


def _element_size(data: bytes, place: int) -> tuple[int | None, int]:
    """The size that stands at `place` as Matroska writes it (None: not known), and where it ends."""
    length = 9 - data[place].bit_length() if data[place : place + 1] > b"\0" else 8
    mask = (1 << 7 * length) - 1
    size = int.from_bytes(data[place : place + length], "big") & mask
    return (None if size == mask else size), place + length


def _ends_as_ogg(data: bytes) -> bool:
    """Whether the last page is whole and says that it is the last of its stream."""
    place = data.rfind(b"OggS")
    if len(data) < place + 27:
        return False
    num_segments = data[place + 26]
    body = sum(data[place + 27 : place + 27 + num_segments])
    return bool(data[place + 5] & 4) and place + 27 + num_segments + body <= len(data)


def _more_than(stream: Any, count: int) -> str:
    return str(stream.frames) if stream.frames >= count else f"at least {count}"


def check_sound(rate: int, channels: int) -> None:
    """ValueError for a rate or a number of channels that no recording has."""
    if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"the audio states {rate} samples a second in {channels} channels, which cannot be")


def check_seconds(what: str, seconds: float, limits: Limits) -> None:
    """ValueError for what lasts longer than the limits allow."""
    if seconds > limits.max_seconds:
        raise ValueError(f"the {what} lasts {seconds:.1f} seconds, more than {limits.max_seconds:g}")
