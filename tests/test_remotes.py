import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mmcore import remotes
from mmcore.commands.data_status import status
from mmcore.data import store
from mmcore.ledger import Ledger
from mmcore.workspace import Workspace
from tests.conftest import git
from tests.faults import storage
from tests.faults.data import corruption, killed, located, make_box, undisturbed

SMALL = {"train": 3, "test": 1}
SHARD = "train/part-00001.parquet"
CHANCE = random.Random(5)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return storage.make_project(tmp_path / "project", "../../store", shards=SMALL)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_box(tmp_path_factory.mktemp("storage") / "box")


def spoil(place: str, root: Path, *, kind: str = "flip", path: str = SHARD) -> None:
    file = located(root.parent, storage.version(root), path)[place]
    storage.DAMAGE[kind](file, file, CHANCE)


def lists_of(root: Path) -> list[Path]:
    return list((root.parent / "store").rglob("*.dir"))


# Whole copies -----------------------------------------------------------------------------------------------------


def test_what_was_pushed_is_pulled_elsewhere_and_a_second_push_sends_nothing(project: Path, tmp_path: Path) -> None:
    sent = remotes.push(Workspace(project))
    assert "sent 6 objects to the remote 'store'" in sent[0]
    assert "holds all 6 objects of data.dvc" in sent[1]
    clone = storage.clone(project, tmp_path / "clone")
    assert "data/ holds all 5 files of data.dvc" in remotes.pull(Workspace(clone))[-1]
    assert storage.contents(clone) == storage.contents(project)
    assert remotes.push(Workspace(project))[0] == "there was nothing to send"
    assert "holds all 6 objects" in remotes.verify_remote(Workspace(project))[0]
    assert "holds all 5 files" in remotes.verify(Workspace(clone))[0]


def test_verifying_a_remote_keeps_nothing_of_it(project: Path, tmp_path: Path) -> None:
    remotes.push(Workspace(project))
    clone = storage.clone(project, tmp_path / "clone")
    remotes.verify_remote(Workspace(clone))
    assert not [path for path in (clone / ".dvc" / "cache").rglob("*") if path.is_file()]
    assert not (clone / "data").exists()


def test_looking_changes_nothing_even_where_the_list_of_files_is_damaged(project: Path) -> None:
    remotes.push(Workspace(project))
    damaged = Ledger(project).cache().path(Ledger(project).data_hash())
    storage.truncate(damaged, damaged, CHANCE)
    before = damaged.read_bytes()
    with pytest.raises(ValueError, match=r"the list of the files in the cache holds other bytes"):
        remotes.verify(Workspace(project))
    assert "holds all 6 objects" in remotes.verify_remote(Workspace(project))[0]
    found = status(Workspace(project))
    assert [place.state for place in found.places] == ["as data.dvc says", "1 of 6 missing", "complete"]
    assert found.advice == "mmcore data pull"
    assert damaged.read_bytes() == before
    assert not (project / ".mmcore" / "damaged").exists()


def test_a_push_from_a_clone_that_lacks_the_data_says_how_to_get_them(project: Path, tmp_path: Path) -> None:
    remotes.push(Workspace(project))
    with pytest.raises(ValueError, match=r"not intact here(.|\n)*get it first: mmcore data pull"):
        remotes.push(Workspace(storage.clone(project, tmp_path / "clone")))


def test_data_that_were_copied_here_need_neither_cache_nor_remote(project: Path, tmp_path: Path) -> None:
    clone = storage.clone(project, tmp_path / "clone")
    shutil.copytree(project / "data", clone / "data")
    assert "the cache took 5 objects" in remotes.pull(Workspace(clone))[0]
    assert storage.contents(clone) == storage.contents(project)


# Damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("flip", "remote"), ("truncate", "cache"), ("zero", "remote"), ("delete", "data"), ("swap", "remote"),
        ("swap", "data"), ("rot", "cache"), ("rot", "data"),
    ],
)  # fmt: skip
def test_damage_is_refused_or_repaired_by_name(box: Path, tmp_path: Path, kind: str, place: str) -> None:
    shutil.copytree(box, tmp_path / "world")
    assert corruption(tmp_path / "world", kind, place, random.Random(3)) in ("refused", "repaired")


def test_a_short_object_is_sent_again_by_the_next_push(project: Path) -> None:
    remotes.push(Workspace(project))
    spoil("remote", project, kind="truncate")
    lines = remotes.push(Workspace(project))
    assert f"data/{SHARD} had" in lines[0]
    assert "replaced" in lines[0]
    assert "holds all" in remotes.verify_remote(Workspace(project))[0]


def test_a_flipped_object_is_found_by_reading_back(project: Path) -> None:
    remotes.push(Workspace(project))
    spoil("remote", project)
    assert remotes.push(Workspace(project))[0] == "there was nothing to send"
    assert f"data/{SHARD} holds other bytes" in remotes.push(Workspace(project), read_back=True)[0]
    assert "holds all" in remotes.verify_remote(Workspace(project))[0]


def test_a_damaged_list_of_files_is_refused_on_the_remote_and_replaced_in_the_cache(
    project: Path, tmp_path: Path
) -> None:
    remotes.push(Workspace(project))
    for place in (*lists_of(project), Ledger(project).cache().path(Ledger(project).data_hash())):
        storage.truncate(place, place, CHANCE)
    with pytest.raises(ValueError, match=r"list of the files of data/ holds other bytes .* on the remote 'store'"):
        remotes.pull(Workspace(storage.clone(project, tmp_path / "clone")))
    assert "list of the files holds other bytes" in remotes.pull(Workspace(project))[0]
    assert "the list of the files had" in remotes.push(Workspace(project))[0]
    assert remotes.pull(Workspace(tmp_path / "clone"))


def test_rot_in_a_file_that_cache_and_data_share_is_repaired_from_the_remote(tmp_path: Path) -> None:
    root = storage.make_project(tmp_path / "project", "../../store", shards=SMALL, link="hardlink")
    before = storage.contents(root)
    remotes.push(Workspace(root))
    spoil("data", root, kind="rot")
    assert Ledger(root).data_state() == "same"
    with pytest.raises(ValueError, match=r"is not what manifest\.json says"):
        store.read_rows(root / "data" / SHARD)
    with pytest.raises(ValueError, match=rf"not intact here.*\n.*data/{SHARD}"):
        remotes.push(Workspace(root))
    said = "\n".join(remotes.pull(Workspace(root)))
    assert f"data/{SHARD} holds other bytes" in said
    assert "fetched 1 object" in said
    assert storage.contents(root) == before
    assert len(list((root / ".mmcore" / "damaged").rglob("*.parquet.*"))) == 1


def test_an_extra_file_is_named_and_set_aside_with_its_bytes(project: Path) -> None:
    (project / "data" / "train" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"data/train/notes\.txt is not part of the data"):
        remotes.verify(Workspace(project))
    assert "data/train/notes.txt is not part of the data" in remotes.pull(Workspace(project))[0]
    assert not (project / "data" / "train" / "notes.txt").exists()
    (kept,) = (project / ".mmcore" / "damaged" / "data" / "train").iterdir()
    assert kept.read_text() == "mine"


def test_files_of_another_version_that_the_cache_keeps_are_dropped(project: Path) -> None:
    first = storage.contents(project)
    recorded = (project / "data.dvc").read_bytes()
    store.write_shards(project / "data", "train", [store.row(id="new")])
    store.write_manifest(project / "data")
    Ledger(project).add_data()
    (project / "data.dvc").write_bytes(recorded)
    remotes.pull(Workspace(project))
    assert storage.contents(project) == first
    assert not (project / ".mmcore" / "damaged").exists()


def test_a_shard_that_belies_its_manifest_is_refused_though_every_object_is_whole(project: Path) -> None:
    shard = project / "data" / SHARD
    shard.chmod(0o644)
    shard.write_bytes((project / "data" / "train" / "part-00000.parquet").read_bytes())
    Ledger(project).add_data()
    remotes.push(Workspace(project))
    for verify in (remotes.verify, remotes.verify_remote):
        with pytest.raises(ValueError, match=f"{SHARD} is not what manifest.json says"):
            verify(Workspace(project))


# Kills ------------------------------------------------------------------------------------------------------------


def test_a_push_killed_before_and_after_its_first_object_is_completed_by_the_next(box: Path, tmp_path: Path) -> None:
    first, last = undisturbed(box)
    assert killed(box, tmp_path / "early", first // 2).startswith("  0 objects")
    assert "holds all 41 files" in killed(box, tmp_path / "late", (first + last) // 2)


def test_a_push_that_dvc_believes_complete_is_completed(project: Path, tmp_path: Path) -> None:
    remotes.push(Workspace(project))
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file() and path.suffix != ".dir":
            path.unlink()
    assert "sent 5 objects" in remotes.push(Workspace(project))[0]
    assert remotes.pull(Workspace(storage.clone(project, tmp_path / "clone")))


# Words ------------------------------------------------------------------------------------------------------------


def test_without_a_remote_it_is_said_how_to_add_one(project: Path, tmp_path: Path) -> None:
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    git(project, "commit", "--quiet", "-am", "no remote")
    with pytest.raises(LookupError, match="dvc remote add"):
        remotes.push(Workspace(project))
    with pytest.raises(LookupError, match="dvc remote add"):
        remotes.pull(Workspace(storage.clone(project, tmp_path / "clone")))
    with pytest.raises(LookupError, match="'other' cannot be used"):
        remotes.push(Workspace(project), "other")


def test_an_unreachable_remote_is_named_without_its_secrets(tmp_path: Path) -> None:
    root = storage.make_project(tmp_path / "p", "http://me:secret@127.0.0.1:9/x?token=secret", shards=SMALL)
    with pytest.raises((ConnectionError, LookupError), match="'store'") as told:
        remotes.push(Workspace(root))
    assert "secret" not in str(told.value)


# S3 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """A bucket on an S3 server of this process: the server's address and the client that made the bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
    client.create_bucket(Bucket="data")
    yield f"http://{host}:{port}", client
    server.stop()


@pytest.mark.s3
def test_an_s3_remote_is_filled_verified_and_mended(tmp_path: Path, bucket: tuple[str, Any]) -> None:
    address, client = bucket
    root = storage.make_project(tmp_path / "p", "s3://data/prefix", shards=SMALL, endpointurl=address)
    remotes.push(Workspace(root))
    clone = storage.clone(root, tmp_path / "clone")
    remotes.pull(Workspace(clone))
    assert storage.contents(clone) == storage.contents(root)
    assert "holds all 6 objects" in remotes.verify_remote(Workspace(root))[0]

    name = storage.version(root).files[SHARD]
    key = f"prefix/files/md5/{name[:2]}/{name[2:]}"
    whole = client.get_object(Bucket="data", Key=key)["Body"].read()
    for number, spoilt in enumerate((whole[:-1] + bytes([whole[-1] ^ 1]), None)):
        if spoilt is None:
            client.delete_object(Bucket="data", Key=key)
        else:
            client.put_object(Bucket="data", Key=key, Body=spoilt)
        fresh = storage.clone(root, tmp_path / f"fresh{number}")
        with pytest.raises(ValueError, match=f"data/{SHARD}"):
            remotes.pull(Workspace(fresh))
        with pytest.raises(ValueError, match=f"data/{SHARD}"):
            remotes.verify_remote(Workspace(root))
        remotes.push(Workspace(root), read_back=True)
        remotes.pull(Workspace(fresh))
        assert storage.contents(fresh) == storage.contents(root)
