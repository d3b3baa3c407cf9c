import io
import zipfile
from typing import Any

import numpy as np
import pytest

from mmcore.data.modalities import UNLIMITED, Limits
from mmcore.data.series import Series, read_npy
from tests.data.conftest import SETTINGS


class Two(Series):
    channels, moments, rate = 2, 5, 10.0


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def stated(shape: tuple[int, ...], body: bytes = b"", descr: str = "<f4") -> bytes:
    """A file whose header says what it likes."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + body


@pytest.mark.parametrize("kind", ["<f4", "<f8", ">f8", "<f2", "<i2", "|u1", "<i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_every_kind_and_order_are_those_of_numpy(kind: str, order: str) -> None:
    array = np.arange(12).reshape(4, 3).astype(kind, order=order)
    assert np.array_equal(read_npy(npy(array), UNLIMITED), array.astype(np.float32))


def test_the_shape_is_left_as_it_is() -> None:
    depth = np.random.default_rng(0).random((3, 4, 5))
    assert np.array_equal(read_npy(npy(depth), UNLIMITED), depth.astype(np.float32))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"no numbers at all", r"cannot be read as \.npy"),
        (npy(np.zeros(3))[:20], r"cannot be read as \.npy"),
        (b"\x93NUMPY\x09\x00" + npy(np.zeros(3))[8:], r"cannot be read as \.npy: of another version"),
        (npy(np.array([{"a": 1}], object), allow_pickle=True), "holds object, not numbers"),
        (npy(np.array(["ab"])), "not numbers of at most 8 bytes"),
        (npy(np.zeros(2, np.complex64)), "holds complex64"),
        (npy(np.zeros(2, [("a", "<f4")])), "not numbers"),
        (npy(np.array([1.0, np.nan])), "values that are no numbers"),
        (npy(np.array([1e300])), "values that are no numbers"),
        (npy(np.zeros(3, np.float32))[:-1], "11 bytes of numbers where its header promises 12"),
        (npy(np.zeros(3, np.float32)) + b"#!", "14 bytes of numbers where its header promises 12"),
        (stated((-1, 3)), r"states the shape \(-1, 3\)"),
        (stated((1 << 40, 1 << 40)), "more than"),
    ],
)
def test_what_is_no_array_of_numbers_says_why(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_npy(data, UNLIMITED)


def test_an_archive_of_arrays_is_none() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", npy(np.zeros(3)))
    with pytest.raises(ValueError, match="cannot be read as"):
        read_npy(file.getvalue(), UNLIMITED)


def test_too_many_numbers_are_refused_by_the_header() -> None:
    limits = Limits(max_pixels=6, max_seconds=1, max_frames=1)
    assert read_npy(npy(np.zeros((2, 3))), limits).shape == (2, 3)
    # There is nothing behind the header: it was not looked for.
    with pytest.raises(ValueError, match="holds 7 numbers, more than 6"):
        read_npy(stated((7,)), limits)


def test_a_series_has_its_channels_and_lasts_no_longer_than_allowed() -> None:
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    media = Two().decode(npy(values), UNLIMITED)
    assert (media.seconds, media.rate) == (0.7, 10.0)
    assert np.array_equal(Two().transform(media, SETTINGS), values[:5])
    assert Two().transform(media, SETTINGS).dtype == Two().largest(SETTINGS).dtype
    assert Two().largest(SETTINGS).shape == (5, 2)
    with pytest.raises(ValueError, match=r"lasts 0\.7 seconds, more than 0\.6"):
        Two().decode(npy(values), Limits(max_pixels=99, max_seconds=0.6, max_frames=1))
    for wrong in (np.zeros((7, 3)), np.zeros(7), np.zeros((0, 2)), np.zeros((1, 7, 2))):
        with pytest.raises(ValueError, match=r"has the shape .*, not \(moments, 2\)"):
            Two().decode(npy(wrong), UNLIMITED)


def test_one_channel_may_be_a_plain_list_of_numbers() -> None:
    class One(Series):
        channels, moments = 1, 9

    assert One().decode(npy(np.arange(3.0)), UNLIMITED).array.tolist() == [[0], [1], [2]]


def test_a_series_is_described_by_its_numbers() -> None:
    media = Two().decode(npy(np.array([[1, 2], [3, 6]])), UNLIMITED)
    assert Two().describe(media) == {
        "moments": 2.0, "mean": 3.0, "deviation": pytest.approx(3.5**0.5), "low": 1.0, "high": 6.0
    }  # fmt: skip
