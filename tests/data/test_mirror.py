from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcore.data import mirror as mirroring
from mmcore.data.importers import ImportOptions
from mmcore.data.importing import import_data
from mmcore.data.ingest import ingest
from mmcore.data.mirror import is_bucket, mirror
from mmcore.workspace import Workspace
from tests.data.test_ingest import add, settings

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """An empty bucket on a server of this machine, which the environment names as the AWS tools read it."""
    import boto3

    for name, value in (
        ("AWS_ENDPOINT_URL", server), ("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_CONFIG_FILE", "/none"), ("AWS_SHARED_CREDENTIALS_FILE", "/none"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3", endpoint_url=server).Bucket(f"b{abs(hash(request.node.name))}")
    made.create()
    return made


def put(bucket: Any, **objects: bytes) -> None:
    for key, content in objects.items():
        bucket.put_object(Key=key.replace("__", "/"), Body=content)


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetched(folder: Path, before: dict[str, int]) -> set[str]:
    """The files that are not the ones that were there before."""
    return {name for name, number in numbers(folder).items() if before.get(name) != number}


def numbers(folder: Path) -> dict[str, int]:
    """The inode of every file: a fetched one replaces the one before."""
    return {path.relative_to(folder).as_posix(): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_a_bucket_becomes_a_folder_of_the_objects_below_its_prefix(bucket: Any, tmp_path: Path):
    put(bucket, photos__a=b"one", photos__deep__b=b"two", other=b"not ours", photos2__c=b"not ours")
    done = mirror(f"s3://{bucket.name}/photos", tmp_path)
    assert held(done.folder) == {"a": b"one", "deep/b": b"two"}
    assert done.folder.name == "photos"
    assert done.passed_over == ()


def test_only_what_is_new_or_changed_is_fetched_and_what_is_gone_goes(bucket: Any, tmp_path: Path):
    put(bucket, a=b"one", b=b"two", c=b"three")
    address = f"s3://{bucket.name}"
    folder = mirror(address, tmp_path).folder
    before = numbers(folder)
    put(bucket, b=b"TWO", d=b"four")
    bucket.Object("c").delete()
    assert mirror(address, tmp_path).folder == folder
    assert held(folder) == {"a": b"one", "b": b"TWO", "d": b"four"}
    assert fetched(folder, before) == {"b", "d"}
    before = numbers(folder)
    mirror(address, tmp_path)
    assert fetched(folder, before) == set()


def test_a_mirror_that_was_cut_off_goes_on_with_what_it_lacks(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    put(bucket, a=b"one", b=b"two", c=b"three")
    monkeypatch.setattr(mirroring, "BATCH", 1)
    address = f"s3://{bucket.name}"
    folder = mirror(address, tmp_path).folder
    before = numbers(folder)
    index = folder.parent.parent / "index.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text(lines[0] + lines[1][:9])  # killed while it wrote the second line
    mirror(address, tmp_path)
    assert fetched(folder, before) == {"b", "c"}
    before = numbers(folder)
    (folder / "b").rename(tmp_path / "b")
    mirror(address, tmp_path)
    assert fetched(folder, before) == {"b"}
    assert held(folder) == {"a": b"one", "b": b"two", "c": b"three"}


def test_a_key_that_leads_elsewhere_or_can_be_no_file_is_passed_over(bucket: Any, tmp_path: Path):
    for key in ("p/../../evil", "p//evil", "p/" + "n" * 300, "p/back\\slash", "p/tab\tbed", "p/folder/", "p/ok"):
        bucket.put_object(Key=key, Body=b"x")
    done = mirror(f"s3://{bucket.name}/p/", tmp_path / "root")
    assert held(done.folder) == {"ok": b"x"}
    assert len(done.passed_over) == 5
    assert not (tmp_path / "evil").exists()


def test_an_object_named_like_a_folder_leaves_the_first_of_both(bucket: Any, tmp_path: Path):
    put(bucket, a=b"file", a__b=b"below")
    done = mirror(f"s3://{bucket.name}", tmp_path)
    assert held(done.folder) == {"a": b"file"}
    assert done.passed_over == ("a/b",)


@pytest.mark.parametrize("name", ["lock", "index.jsonl"])
def test_a_prefix_may_be_called_like_the_mirrors_own_files(bucket: Any, tmp_path: Path, name: str):
    bucket.put_object(Key=f"{name}/a", Body=b"one")
    for _ in range(2):
        assert held(mirror(f"s3://{bucket.name}/{name}", tmp_path).folder) == {"a": b"one"}


@pytest.mark.parametrize("prefix", ["x/..", ".", "tab\tbed", "n" * 300])
def test_a_prefix_that_can_be_no_folder_is_refused_and_other_mirrors_stay(bucket: Any, tmp_path: Path, prefix: str):
    bucket.put_object(Key="p/a", Body=b"one")
    other = mirror(f"s3://{bucket.name}/p", tmp_path).folder
    with pytest.raises(ValueError, match="can be no folder here; name another prefix"):
        mirror(f"s3://{bucket.name}/{prefix}", tmp_path)
    assert held(other) == {"a": b"one"}


def test_a_bucket_with_too_many_objects_is_refused(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mirroring, "MAX_OBJECTS", 2)
    put(bucket, a=b"1", b=b"2", c=b"3")
    with pytest.raises(ValueError, match="more than 2 objects; name a longer prefix"):
        mirror(f"s3://{bucket.name}", tmp_path)


def test_a_bucket_that_is_not_there_is_named(bucket: Any, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="s3://no-such-bucket/p/ is not there"):
        mirror("s3://no-such-bucket/p", tmp_path)


def test_keys_have_no_place_in_an_address(tmp_path: Path):
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID"):
        mirror("s3://key:secret@bucket/p", tmp_path)


def test_an_address_of_another_kind_is_refused():
    assert is_bucket("s3://bucket")
    assert not is_bucket("photos/new")
    with pytest.raises(ValueError, match="give a folder or s3://"):
        is_bucket("https://example.org/data")


def test_new_rows_come_out_of_a_bucket_as_out_of_a_folder(bucket: Any, tmp_path: Path):
    work = Workspace(tmp_path / "project")
    add(tmp_path / "inbox", *range(12))
    import_data(tmp_path / "inbox", work.data, format="imagefolder", options=ImportOptions())
    add(tmp_path / "inbox", 12, 13)
    for path in (tmp_path / "inbox").iterdir():
        bucket.upload_file(str(path), f"inbox/{path.name}")
    fed = settings(f"s3://{bucket.name}/inbox")
    assert sum(ingest(work, fed).rows.values()) == 2
    assert not ingest(work, fed).changed
    assert len(list((work.state / "mirror").iterdir())) == 1
    for name in ("b\\ack", "\x1b[31m"):
        bucket.put_object(Key=f"inbox/{name}", Body=b"x")
    said = ingest(work, fed).describe()
    assert said == r"nothing new, 2 objects of the bucket passed over ('\x1b[31m', 'b\\ack')"
