import io
import json
import tarfile
from pathlib import Path

import pytest

from mmcore.data.importers import ImportOptions, Refused, Sample, webdataset
from mmcore.data.importers.webdataset import Importer
from tests.data.test_prepare import picture


def shard(path: Path, *members: tuple[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def read(source: Path, **options: object) -> tuple[list[Sample], list[Refused]]:
    found = list(Importer().read(source, ImportOptions(**options)))
    return [one for one in found if isinstance(one, dict)], [one for one in found if isinstance(one, Refused)]


def test_members_with_the_same_name_before_the_dot_are_one_sample(tmp_path: Path) -> None:
    wav = b"RIFF" + bytes(40)
    shard(
        tmp_path / "train-000000.tar",
        ("0.jpg", picture(1)), ("0.txt", "a dog\n"), ("0.cls", "3"),
        ("sub/1.wav", wav), ("sub/1.json", '{"captions": ["ein Hund", "一只狗"], "camera": 2}'),
    )  # fmt: skip
    shard(tmp_path / "val" / "a.tar", ("0.mp4", b"clip"), ("0.json", '{"id": "x", "summary": "short"}'))
    samples, refused = read(tmp_path)
    assert refused == []
    assert [(one["id"], one["split"]) for one in samples] == [
        ("train-000000/0", "train"), ("train-000000/sub/1", "train"), ("x", "validation")
    ]  # fmt: skip
    first, second, third = samples
    assert (first["image"], first["labels"], first["captions"][0]["text"]) == (picture(1), {"label": "3"}, "a dog")
    assert (second["audio"], [one["text"] for one in second["captions"]]) == (wav, ["ein Hund", "一只狗"])
    assert json.loads(second["meta"]) == {"file_name": "sub/1.wav", "camera": 2}
    assert (third["video"], third["summary"]) == (b"clip", "short")


def test_a_single_shard_is_a_source_and_fields_are_told(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", ("0.png", picture(1)), ("0.txt", "t"), ("0.npy", b"?"))
    assert [one["id"] for one in read(path)[0]] == ["x/0"]
    assert Importer().fields(path, ImportOptions()) == {"png": "image", "text": "captions"}


def test_names_that_lead_elsewhere_links_and_devices_are_refused_with_their_sample(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", ("/etc/x.jpg", b"1"), ("../y.jpg", b"1"), ("ok.jpg", picture(1)))
    with tarfile.open(path, "a") as tar:
        for name, kind in (("l.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE), ("d.jpg", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    samples, refused = read(tmp_path)
    assert [one["id"] for one in samples] == ["a/ok"]
    assert [(one.id, one.problem) for one in refused] == [
        ("a//etc/x", "unsafe_path"), ("a/../y", "unsafe_path"), ("a/l", "unsafe_path"), ("a/h", "unsafe_path"),
        ("a/d", "unsafe_path"),
    ]  # fmt: skip


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("s.jpg")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"77777777777\0"  # says that it is 8 GiB when it is read
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(1024))
    assert [(one.id, one.problem) for one in read(tmp_path)[1]] == [("a/s", "unsafe_path")]


def test_names_that_differ_only_in_case_or_composition_are_the_same_sample(tmp_path: Path) -> None:
    names = ("caf\u00e9.jpg", "x.jpg", "cafe\u0301.jpg", "y.jpg", "X.jpg")
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(picture(1))
            tar.addfile(member, io.BytesIO(picture(1)))
    samples, refused = read(tmp_path)
    assert [one["id"] for one in samples] == ["a/caf\u00e9", "a/x", "a/y"]
    assert [one.problem for one in refused] == ["duplicate_id", "duplicate_id"]


def test_a_member_twice_and_broken_fields_are_refused(tmp_path: Path) -> None:
    shard(
        tmp_path / "a.tar", ("0.jpg", b"1"), ("0.jpg", b"2"), ("1.json", "{"), ("2.json", "[1]"), ("3.txt", b"\xff"),
        ("4.jpg", picture(1)),
    )  # fmt: skip
    samples, refused = read(tmp_path)
    assert [one["id"] for one in samples] == ["a/4"]
    assert [one.problem for one in refused] == ["duplicate_member"] + 3 * ["bad_manifest_line"]


@pytest.mark.parametrize("cut", ["in a member", "in a header", "between samples", "a broken header"])
def test_of_a_shard_that_is_cut_off_the_samples_before_are_read(tmp_path: Path, cut: str) -> None:
    members = [(f"{number}.{ending}", b"x" * 600) for number in range(4) for ending in ("jpg", "png")]
    data = bytearray(shard(tmp_path / "a.tar", *members).read_bytes())
    each = 512 + 1024
    if cut == "a broken header":
        data[6 * each + 10] ^= 0xFF
    else:
        data = data[: {"in a member": 5 * each - 100, "in a header": 5 * each + 100, "between samples": 6 * each}[cut]]
    (tmp_path / "a.tar").write_bytes(data)
    samples, refused = read(tmp_path)
    whole = 3 if cut in ("a broken header", "between samples") else 2
    # The last sample may lack members that were behind the cut.
    kept = whole - 1 if cut in ("a broken header", "between samples") else whole
    assert [one["id"] for one in samples] == [f"a/{number}" for number in range(kept)]
    assert [(one.id, one.problem) for one in refused] == [
        (f"a/{kept}", "truncated_archive"), ("a", "truncated_archive")
    ]  # fmt: skip


def test_what_is_no_archive_and_what_has_too_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tar").write_bytes(b"no archive" * 100)
    shard(tmp_path / "b.tar", *((f"{number}.txt", "x") for number in range(5)))
    monkeypatch.setattr(webdataset, "MAX_MEMBERS", 3)
    samples, refused = read(tmp_path)
    assert [one["id"] for one in samples] == ["b/0", "b/1"]
    assert [(one.id, one.problem) for one in refused] == [
        ("a", "truncated_archive"), ("b/2", "truncated_archive"), ("b", "too_large")
    ]  # fmt: skip


def test_packed_archives_are_told_and_an_empty_folder_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is webdataset its format"):
        read(tmp_path)
    shard(tmp_path / "a.tar", ("0.txt", "x"))
    (tmp_path / "b.tar.gz").touch()
    assert Importer().doubts(tmp_path) == ["packed archives are not read; unpack them to .tar: b.tar.gz"]
    (tmp_path / "c.tar").symlink_to(tmp_path / "a.tar")
    with pytest.raises(ValueError, match="symbolic links are not followed"):
        read(tmp_path)


def test_every_ending_that_media_files_have_is_read_and_others_are_told(tmp_path: Path) -> None:
    members = (
        ("1.m4v", b"clip"),
        ("2.aac", b"sound"),
        ("3.jpg", b"x"),
        ("3.npy", b"?"),
        ("3.mask.png", b"x"),
        ("4", b""),
    )
    shard(tmp_path / "a.tar", *members)
    samples, _ = read(tmp_path)
    assert [[column for column in ("image", "audio", "video") if column in one] for one in samples] == [
        ["video"], ["audio"], ["image"]
    ]  # fmt: skip
    assert Importer().doubts(tmp_path) == ["members with these endings are not imported: (none), .mask.png, .npy"]
    assert Importer().doubts(tmp_path / "a.tar") == Importer().doubts(tmp_path)


def test_a_field_that_is_called_like_an_ending_is_no_medium(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", ("1.txt", "a car"), ("1.json", '{"mpg": 30, "jpg": "/etc/hostname"}'))
    (sample,), _ = read(tmp_path)
    assert json.loads(sample["meta"]) == {"meta_mpg": 30, "meta_jpg": "/etc/hostname"}
    assert not sample.keys() & {"image", "video"}
