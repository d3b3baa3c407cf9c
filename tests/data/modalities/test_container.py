import io
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mmcore.data.modalities import UNLIMITED, Limits, _container
from mmcore.data.modalities._container import container_of
from mmcore.data.modalities.audio import Modality as Audio
from mmcore.data.modalities.video import Modality as Video
from tests.data.modalities.test_audio import wav

CLIPS = Path(__file__).parents[4] / "shared" / "data" / "video_clips"
SOUNDS = Path(__file__).parents[4] / "shared" / "data" / "esc10"


def film(
    format: str = "mp4", frames: int = 8, *, codec: str = "mpeg4", width: int = 64, height: int = 48, **options: str
) -> bytes:
    """Red, getting brighter, 4 frames a second."""
    with tempfile.NamedTemporaryFile() as file, av.open(file.name, "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=4)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            array = np.zeros((height, width, 3), np.uint8)
            array[..., 0] = 30 * number % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array)))
        container.mux(stream.encode())
        container.close()
        return Path(file.name).read_bytes()


def sound(format: str, codec: str, *, seconds: float = 1.0, rate: int = 48000) -> bytes:
    """A quarter of full scale on the left, three quarters on the right: half on the whole."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        array = np.repeat(np.array([[0.25], [0.75]], np.float32), int(seconds * rate), axis=1)
        frame = av.AudioFrame.from_ndarray(array, format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        resampler = av.AudioResampler(stream.format, "stereo", rate, stream.codec_context.frame_size or 4096)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("format", "shown"), [("mp4", "mov"), ("mov", "mov"), ("matroska", "matroska"), ("avi", "avi")]
)
def test_films_are_read_frame_by_frame(format: str, shown: str) -> None:
    data = film(format)
    assert container_of(data) == shown
    media = Video().decode(data, UNLIMITED)
    assert media.array.shape == (8, 48, 64, 3)
    assert np.abs(media.array[:, 24, 32, 0].astype(int) - 30 * np.arange(8)).max() <= 12
    assert (media.seconds, media.rate) == (2.0, 4.0)
    header = Video().header(data, UNLIMITED)
    assert (header.num_frames, header.width, header.height, header.seconds) == (8, 64, 48, 2.0)
    assert header.format == _container.NAMES[shown]


@pytest.mark.parametrize(
    ("format", "codec"), [("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("mp4", "aac")]
)
def test_sounds_are_read_and_their_channels_mixed(format: str, codec: str) -> None:
    data = sound(format, codec)
    media = Audio().decode(data, UNLIMITED)
    assert media.array.dtype == np.float32
    assert media.array.ndim == 1
    assert media.rate == 48000.0
    assert media.seconds == pytest.approx(1.0, abs=0.06)
    middle = media.array[12000:36000]
    # Lossy codecs take the constant part out of a wave, some more than others.
    assert float(middle.mean()) == pytest.approx(0.5, abs=0.001 if codec == "flac" else 0.51)
    header = Audio().header(data, UNLIMITED)
    assert (header.rate, header.channels) == (48000.0, 2)
    assert header.seconds == pytest.approx(media.seconds, abs=0.06)


def test_rates_are_believed_of_every_container_alike() -> None:
    for data in (sound("flac", "flac", seconds=0.1, rate=352800), wav(bytes(7056), rate=352800)):
        assert Audio().decode(data, UNLIMITED).rate == 352800.0
    with pytest.raises(ValueError, match="states 400000 samples a second in 2 channels, which cannot be"):
        Audio().header(sound("flac", "flac", seconds=0.1, rate=400000), UNLIMITED)


def test_the_sound_of_a_film_without_sound_and_the_film_of_a_sound_are_refused() -> None:
    with pytest.raises(ValueError, match="MP4 or MOV without a stream of audio"):
        Audio().decode(film(), UNLIMITED)
    with pytest.raises(ValueError, match="FLAC without a stream of video"):
        Video().decode(sound("flac", "flac"), UNLIMITED)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(64 * 48 * 7, 9.0, 9), "8 frames of 64 x 48 pixels, more than 21504 pixels in all"),
        (Limits(1 << 30, 1.0, 9), "lasts 1.2 seconds, more than 1"),
        (Limits(1 << 30, 9.0, 7), "has 8 frames, more than 7"),
    ],
)
def test_limits_are_kept_before_a_film_is_decoded(limits: Limits, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Video().header(film(), limits)
    with pytest.raises(ValueError, match=message):
        Video().decode(film(), limits)


def test_a_header_that_lies_about_the_size_of_frames_is_not_believed() -> None:
    data = film(width=1280, height=1280, frames=2)
    place = data.find(b"mp4v") + 28
    assert data[place : place + 4] == b"\x05\x00\x05\x00"
    lying = data[:place] + b"\x00\x10\x00\x10" + data[place + 4 :]
    with pytest.raises(ValueError, match="the video"):
        Video().decode(lying, Limits(64 * 64 * 2, 9.0, 9))


def test_a_long_silence_in_few_bytes_is_refused_before_it_is_decoded() -> None:
    data = sound("flac", "flac", seconds=5.0, rate=8000)
    with pytest.raises(ValueError, match="seconds, more than 2"):
        Audio().decode(data, Limits(1, 2.0, 1))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.85])
@pytest.mark.parametrize(
    ("format", "flags"),
    [("mp4", ""), ("mp4", "faststart"), ("mp4", "frag_keyframe+empty_moov"), ("matroska", ""), ("avi", "")],
)
def test_a_torn_film_is_refused(format: str, flags: str, share: float) -> None:
    data = film(format, frames=20, **({"movflags": flags} if flags else {}))
    Video().decode(data, UNLIMITED)
    with pytest.raises(ValueError, match="the video"):
        Video().decode(data[: int(share * len(data))], UNLIMITED)


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize(
    ("format", "codec"), [("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus"), ("mp4", "aac")]
)
def test_a_torn_sound_is_refused(format: str, codec: str, share: float) -> None:
    data = sound(format, codec, seconds=3.0)
    with pytest.raises(ValueError, match="the audio"):
        Audio().decode(data[: int(share * len(data))], UNLIMITED)


def test_a_play_list_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_bytes(film())
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/a.ts\n#EXT-X-ENDLIST\n".encode()
    for data in (playlist, b"\0\0\0\x08ftyp" + playlist, b"ffconcat version 1.0\nfile a.ts\n"):
        with pytest.raises(ValueError, match="the video"):
            Video().decode(data, UNLIMITED)


def test_noise_behind_every_magic_says_why() -> None:
    noise = np.random.default_rng(0).bytes(3000)
    magics = [
        b"\0\0\0\x18ftypmp42",
        b"\x1a\x45\xdf\xa3",
        b"RIFF\xb8\x0b\0\0AVI ",
        b"OggS",
        b"fLaC",
        b"ID3",
        b"\xff\xfb\x90\x00",
    ]
    for magic in magics:
        assert container_of(magic + noise) is not None
        for modality, what in ((Video(), "video"), (Audio(), "audio")):
            with pytest.raises(ValueError, match=f"^the {what}"):
                modality.decode(magic + noise, UNLIMITED)


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"which needs PyAV; in mmcore's checkout: pip install -e '\.\[media\]'"):
        Video().decode(data, UNLIMITED)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the shared clips are not at hand")
def test_real_films_have_the_frames_that_their_list_says() -> None:
    for line in (CLIPS / "metadata.jsonl").read_text().splitlines():
        said = json.loads(line)
        data = (CLIPS / said["file_name"]).read_bytes()
        if said["decode"] != "ok":
            with pytest.raises(ValueError, match="the video cannot be decoded"):
                Video().decode(data, UNLIMITED)
            continue
        header = Video().header(data, UNLIMITED)
        assert (header.num_frames, header.width, header.height) == (said["frames"], said["width"], said["height"])
        assert header.rate == pytest.approx(said["fps"], rel=0.01)
        if said["frames"] * said["width"] * said["height"] < 20_000_000:
            media = Video().decode(data, UNLIMITED)
            turned = said["file_name"] in ("video_90.mov", "video_270.mov")
            assert len(media.array) == said["frames"]
            assert (media.height > media.width) is turned


@pytest.mark.skipif(not SOUNDS.is_dir(), reason="the shared sounds are not at hand")
def test_real_sounds_have_the_samples_that_their_list_says() -> None:
    lines = (SOUNDS / "test" / "metadata.jsonl").read_text().splitlines()[:10]
    for said in map(json.loads, lines):
        media = Audio().decode((SOUNDS / "test" / said["file_name"]).read_bytes(), UNLIMITED)
        assert (len(media.array), media.rate) == (said["num_samples"], said["sample_rate"])


def test_looking_for_packets_ends_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_container, "_patience", lambda data: -1.0)
    for modality, data in ((Video(), film()), (Audio(), sound("flac", "flac"))):
        with pytest.raises(ValueError, match="is broken: looking for its packets takes too long"):
            modality.decode(data, UNLIMITED)


def test_flac_with_a_garbled_middle_is_refused() -> None:
    file, noise = io.BytesIO(), np.random.default_rng(0)
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise.integers(-999, 999, (1, 24000)).astype(np.int16), "s16", "mono")
        frame.sample_rate = 8000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    data = bytearray(file.getvalue())
    assert Audio().decode(bytes(data), UNLIMITED).seconds == 3.0
    middle = len(data) // 2
    data[middle : middle + 2000] = noise.bytes(2000)
    with pytest.raises(ValueError, match="damaged"):
        Audio().decode(bytes(data), UNLIMITED)
