from pathlib import Path

import pytest

from mmcore.data.importers import ImportOptions
from mmcore.data.importers.audiofolder import Importer
from tests.conftest import ROOT
from tests.data.importers.test_imagefolder import listed

DATA = ROOT.parent / "shared" / "data"


def test_the_file_name_of_a_list_is_its_audio(tmp_path: Path) -> None:
    for name in ("a.wav", "a.png"):
        (tmp_path / name).write_bytes(b"x")
    listed(tmp_path, {"file_name": "a.wav", "image_file_name": "a.png", "text": "hello"})
    (sample,) = Importer().read(tmp_path, ImportOptions())
    assert isinstance(sample, dict)
    assert (sample["id"], sample["audio"], sample["image"]) == ("a.wav", tmp_path / "a.wav", tmp_path / "a.png")
    assert sample["meta"] == '{"file_name": "a.wav", "image_file_name": "a.png"}'
    assert Importer().fields(tmp_path, ImportOptions()) == {
        "file_name": "audio", "image_file_name": "image", "text": "captions"
    }  # fmt: skip


def test_without_a_list_only_recordings_are_read(tmp_path: Path) -> None:
    for name in ("one/a.wav", "one/a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (sample,) = Importer().read(tmp_path, ImportOptions())
    assert isinstance(sample, dict)
    assert (sample["id"], sample["labels"]) == ("one/a.wav", {"label": "one"})
    (tmp_path / "one" / "a.wav").unlink()
    with pytest.raises(ValueError, match="holds no recordings"):
        list(Importer().read(tmp_path, ImportOptions()))


def test_recordings_may_be_listed_under_either_name_of_the_field(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_bytes(b"x")
    listed(tmp_path, {"file_name": "a.wav"}, {"audio_file_name": "b.wav"})
    assert Importer().doubts(tmp_path) == ["1 recordings are named in no list; they are not imported"]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the shared data sets")
def test_real_recordings_come_with_what_is_said_and_by_whom() -> None:
    options = ImportOptions(map={"speech_text": "text", "labels": ["digit", "speaker"]}, group="speaker")
    samples = list(Importer().read(DATA / "fsdd", options))
    assert len(samples) == 3000
    first = samples[0]
    assert isinstance(first, dict)
    assert (first["id"], first["speech_text"], first["group"]) == ("test/0_george_0.wav", "zero", "george")
    assert first["labels"] == {"digit": "0", "speaker": "george"}
    assert sum(1 for _ in Importer().read(DATA / "esc10", ImportOptions())) == 400
