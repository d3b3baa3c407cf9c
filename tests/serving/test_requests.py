from dataclasses import replace
from pathlib import Path

import pytest

from mmcore.serving import requests
from mmcore.serving.requests import Kept
from mmcore.workspace import run_lock

FILES = {"image": b"\x89PNG..."}


def request(id: str, probability: float = 0.4) -> Kept:
    return Kept(
        id, "mood", "sentiment", "happy", probability, {"happy": probability, "sad": 1 - probability}, "9c1f",
        "2030-01-02T03:04:05+00:00", {"transcript": "well"}, {"image": "image.png"},
    )  # fmt: skip


def keep(folder: Path, one: Kept, *, most: int = 10, most_bytes: int = 10_000) -> bool:
    return requests.keep(folder, one, FILES, most=most, most_bytes=most_bytes)


def test_a_request_is_kept_once_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "requests"
    assert keep(folder, request("a", 0.5))
    assert keep(folder, request("b", 0.3))
    assert keep(folder, request("a", 0.1))  # what was sent is the same
    assert requests.kept(folder) == [request("b", 0.3), request("a", 0.5)]
    assert (folder / "a" / "image.png").read_bytes() == FILES["image"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_no_more_requests_and_no_more_bytes_are_kept_than_may_be(tmp_path: Path) -> None:
    assert keep(tmp_path, request("a"), most=1)
    assert not keep(tmp_path, request("b"), most=1)
    size = sum(path.stat().st_size for path in (tmp_path / "a").iterdir())
    assert not keep(tmp_path, request("b"), most_bytes=size + len(FILES["image"]) - 1)
    assert keep(tmp_path, request("b"), most_bytes=size + len(FILES["image"]))


def test_a_removed_request_is_gone_with_all_that_was_left_aside(tmp_path: Path) -> None:
    keep(tmp_path, request("a"))
    (tmp_path / ".b.1.tmp").mkdir()
    requests.remove(tmp_path, "a")
    assert requests.kept(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    with pytest.raises(LookupError, match="no request 'a' is kept; mmcore data requests list"):
        requests.find(tmp_path, "a")
    with pytest.raises(LookupError):
        requests.find(tmp_path, "../elsewhere")


def test_who_removes_and_who_keeps_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "LOCK_SECONDS", 0.0)
    with run_lock(tmp_path / ".lock", "another"), pytest.raises(BlockingIOError):
        keep(tmp_path, request("a"))


def test_equal_content_has_an_equal_id_and_anything_else_another() -> None:
    texts, files = {"question": "what?"}, {"image": b"1"}
    known = requests.identity("mood", texts, files)
    assert known == requests.identity("mood", dict(texts), dict(files))
    others = [
        requests.identity("other", texts, files),
        requests.identity("mood", {"question": "who?"}, files),
        requests.identity("mood", texts, {"image": b"2"}),
        requests.identity("mood", texts, {"video": b"1"}),
    ]
    assert len({known, *others}) == 5


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x89PNG\r\n", "of.png"),
        (b"RIFF....WAVE", "of.wav"),
        (b"RIFF....WEBP", "of.webp"),
        (b"\x93NUMPY", "of.npy"),
        (b"?", "of"),
    ],
)
def test_a_file_is_called_as_it_begins(content: bytes, name: str) -> None:
    assert requests.file_name("of", content) == name


def test_the_folder_is_the_projects_unless_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(requests.FOLDER, raising=False)
    assert requests.place(tmp_path) == tmp_path / "requests"
    monkeypatch.setenv(requests.FOLDER, str(tmp_path / "elsewhere"))
    assert requests.place(tmp_path) == tmp_path / "elsewhere"


def test_the_settings_name_a_probability_and_room_for_a_request() -> None:
    from tests.serving.test_uploads import LIMITS

    with pytest.raises(ValueError, match="ask_below is 60; choose a probability from 0"):
        replace(LIMITS, ask_below=60)
    with pytest.raises(ValueError, match=r"at least the 10000 bytes \(max_body_bytes\)"):
        replace(LIMITS, ask_bytes=9_999)
