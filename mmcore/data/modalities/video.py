"""Clips: animated PNG, GIF and WebP through Pillow; MP4, MOV, Matroska, WebM and AVI through PyAV."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcore.data.modalities import Limits, Media, thinned
from mmcore.data.modalities._container import Header, container_of, read_video, video_header
from mmcore.data.modalities.image import DESCRIBED_SIDE, open_picture, picture_numbers, rgb, square
from mmcore.settings import PrepareSettings


class Modality:
    """Moving pictures without sound."""

    # A clip may be an animated picture, but a picture's name says nothing of that.
    suffixes = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".gif", ".apng")
    numbers = ("seconds", "frames", "brightness", "contrast", "colourfulness", "sharpness", "motion")
    varies = False

    def decode(self, data: bytes, limits: Limits) -> Media:
        """uint8 [F, H, W, 3] RGB and the length in seconds; ValueError with the reason if that is not to be had."""
        if container_of(data):
            return read_video(data, limits)
        with open_picture(data, "video") as picture:
            header = _header(picture, limits)
            frames, seconds = [], 0.0
            try:
                for index in range(header.num_frames):
                    picture.seek(index)
                    frames.append(rgb(picture))
                    seconds += float(picture.info.get("duration", 0.0)) / 1000
            except Exception as error:  # decoders raise whatever they like on broken bytes
                raise ValueError(f"the video cannot be decoded: frame {len(frames) + 1}: {error}") from None
        seconds = round(seconds, 3)
        if seconds > limits.max_seconds:
            raise ValueError(f"the video lasts {seconds:g} seconds, more than {limits.max_seconds:g}")
        return Media(np.stack(frames), seconds, len(frames) / seconds if seconds else 0.0)

    def header(self, data: bytes, limits: Limits) -> Header:
        """Format, size and number of frames, with nothing decoded; ValueError where `decode` would refuse by them.

        The length of an animated picture stands beside its frames: it is 0 here.
        """
        if container_of(data):
            return video_header(data, limits)
        with open_picture(data, "video") as picture:
            return _header(picture, limits)

    def transform(self, media: Media, prepare: PrepareSettings) -> NDArray[np.uint8]:
        """uint8 [F, S, S, 3], F = `video_frames` spread evenly over the clip, S = `video_size`."""
        chosen = np.round(np.linspace(0, len(media.array) - 1, prepare.video_frames)).astype(int)
        return np.stack([square(media.array[index], prepare.video_size) for index in chosen])

    def largest(self, prepare: PrepareSettings) -> NDArray[np.uint8]:
        """Zeros of the shape and type of every prepared clip."""
        return np.zeros((prepare.video_frames, prepare.video_size, prepare.video_size, 3), np.uint8)

    def describe(self, media: Media) -> dict[str, float]:
        """seconds, frames, the middle frame's picture numbers, and motion: the mean step between frames (0 to 1)."""
        middle = thinned(media.array[len(media.array) // 2], DESCRIBED_SIDE)
        motion = 0.0
        if len(media.array) > 1:
            motion = float(np.abs(np.diff(media.array[:, ::2, ::2].astype(np.int16), axis=0)).mean() / 255)
        return {
            "seconds": media.seconds, "frames": float(len(media.array)), **picture_numbers(middle), "motion": motion
        }  # fmt: skip


def _header(picture: Image.Image, limits: Limits) -> Header:
    try:
        num_frames = int(getattr(picture, "n_frames", 1))
    except Exception as error:  # counting reads every frame's header, and decoders raise whatever they like
        raise ValueError(f"the video's frames cannot be counted: {error}") from None
    if num_frames > limits.max_frames:
        raise ValueError(f"the video has {num_frames} frames, more than {limits.max_frames}")
    if num_frames * picture.width * picture.height > limits.max_pixels:
        raise ValueError(
            f"the video has {num_frames} frames of {picture.width} x {picture.height} pixels,"
            f" more than {limits.max_pixels} pixels in all"
        )
    return Header(str(picture.format), 0.0, 0.0, picture.width, picture.height, num_frames)
