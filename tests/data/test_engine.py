import dataclasses
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcore import fingerprint
from mmcore.data import engine
from mmcore.data.engine import FILES, ShardWork, link_files, map_shards
from mmcore.workspace import hash_file


@dataclasses.dataclass(frozen=True)
class Options:
    times: int


def repeat(work: ShardWork, folder: Path) -> None:
    """The shard's content so many times, and who made it."""
    (folder / "deep").mkdir()
    (folder / "deep/text").write_bytes(work.shard.read_bytes() * work.options.times)
    with open(work.shard.with_suffix(".calls"), "a") as calls:
        calls.write("x")


def fail_on_b(work: ShardWork, folder: Path) -> None:
    if work.shard.name == "b":
        raise ValueError("the shard b is no good")
    (folder / "text").write_bytes(work.shard.read_bytes())


def shards(root: Path, names: str = "abcd", *, times: int = 2) -> list[ShardWork]:
    work = []
    for name in names:
        (root / name).write_text(name)
        work.append(ShardWork(root / name, hash_file(root / name), Options(times)))
    return work


def calls(root: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text()) for path in sorted(root.glob("*.calls"))}


def texts(folders: list[Path]) -> list[str]:
    return [(folder / "deep/text").read_text() for folder in folders]


def test_folders_come_in_the_order_of_the_work_and_are_made_once(tmp_path: Path) -> None:
    work, cache = shards(tmp_path), tmp_path / "cache"
    for _ in range(2):
        assert texts(list(map_shards(repeat, work, cache=cache, processes=2))) == ["aa", "bb", "cc", "dd"]
    assert calls(tmp_path) == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_only_what_is_new_is_worked_on(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    list(map_shards(repeat, shards(tmp_path, "ab"), cache=cache))
    assert texts(list(map_shards(repeat, shards(tmp_path, "acb"), cache=cache))) == ["aa", "cc", "bb"]
    assert calls(tmp_path) == {"a": 1, "b": 1, "c": 1}


def test_other_options_or_other_bytes_are_other_work(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = list(map_shards(repeat, shards(tmp_path, "a"), cache=cache))
    assert texts(list(map_shards(repeat, shards(tmp_path, "a", times=3), cache=cache))) == ["aaa"]
    (tmp_path / "a").write_text("A")
    work = [ShardWork(tmp_path / "a", hash_file(tmp_path / "a"), Options(2))]
    assert texts(list(map_shards(repeat, work, cache=cache))) == ["AA"]
    assert texts(first) == ["aa"]


def test_equal_shards_share_one_result(tmp_path: Path) -> None:
    work = shards(tmp_path, "a")
    folders = list(map_shards(repeat, [*work, *work], cache=tmp_path / "cache"))
    assert folders[0] == folders[1]
    assert calls(tmp_path) == {"a": 1}


def damage_flip(entry: Path) -> None:
    file = entry / "deep/text"
    status = file.stat()
    file.chmod(0o644)
    file.write_text("a?")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def damage_truncate(entry: Path) -> None:
    (entry / "deep/text").chmod(0o644)
    os.truncate(entry / "deep/text", 1)


def damage_lose(entry: Path) -> None:
    (entry / "deep/text").unlink()


def damage_list(entry: Path) -> None:
    (entry / FILES).write_text('{"deep/text": 3}')


def damage_half(entry: Path) -> None:
    (entry / FILES).unlink()


@pytest.mark.parametrize("damage", [damage_flip, damage_truncate, damage_lose, damage_list, damage_half])
def test_a_damaged_result_is_made_again(tmp_path: Path, damage: object) -> None:
    work, cache = shards(tmp_path), tmp_path / "cache"
    entry, *_ = map_shards(repeat, work, cache=cache)
    assert callable(damage)
    damage(entry)
    assert texts(list(map_shards(repeat, work, cache=cache))) == ["aa", "bb", "cc", "dd"]
    assert calls(tmp_path) == {"a": 2, "b": 1, "c": 1, "d": 1}


def test_what_is_finished_before_an_error_stays_finished(tmp_path: Path) -> None:
    work, cache = shards(tmp_path), tmp_path / "cache"
    with pytest.raises(ValueError, match="the shard b is no good"):
        list(map_shards(fail_on_b, work, cache=cache, processes=1))
    assert len(list((cache / "fail_on_b").iterdir())) == 1  # nothing half made beside it


def test_results_unused_for_a_month_are_removed_and_used_ones_stay(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    used, unused = map_shards(repeat, shards(tmp_path, "ab"), cache=cache)
    abandoned = cache / "repeat" / ".key.1.tmp"
    abandoned.mkdir()
    long_ago = time.time() - 31 * 24 * 3600
    for path in (used / FILES, unused / FILES, abandoned):
        os.utime(path, (long_ago, long_ago))
    list(map_shards(repeat, shards(tmp_path, "a"), cache=cache))
    assert sorted((cache / "repeat").iterdir()) == [used]
    assert calls(tmp_path) == {"a": 1, "b": 1}
    assert time.time() - (used / FILES).stat().st_mtime < 3600


def test_linked_files_are_the_cached_ones_and_read_only(tmp_path: Path) -> None:
    entry = next(map_shards(repeat, shards(tmp_path, "a"), cache=tmp_path / "cache"))
    link_files(entry, tmp_path / "out/part")
    linked = tmp_path / "out/part/deep/text"
    assert linked.samefile(entry / "deep/text")
    assert linked.stat().st_mode & 0o222 == 0
    assert [path.name for path in sorted((tmp_path / "out/part").rglob("*"))] == ["deep", "text"]
    assert list(json.loads((entry / FILES).read_text())) == ["deep/text"]


def test_on_another_file_system_files_are_copied(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    entry = next(map_shards(repeat, shards(tmp_path, "a"), cache=tmp_path / "cache"))
    folder = other / f"mmcore-{os.getpid()}"
    try:
        link_files(entry, folder)
        assert (folder / "deep/text").read_text() == "aa"
    finally:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()


def test_without_a_cache_results_last_as_long_as_the_iteration(tmp_path: Path) -> None:
    seen = []
    for folder in map_shards(repeat, shards(tmp_path, "ab"), cache=None):
        seen.append((folder / "deep/text").read_text())
    assert seen == ["aa", "bb"]
    assert not folder.exists()


def test_an_unknown_engine_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data.engine is 'spark'; choose one of: local, ray"):
        list(map_shards(repeat, shards(tmp_path, "a"), cache=None, engine="spark"))


def test_an_engine_that_cannot_be_used_is_refused_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ray", None)
        with pytest.raises(ValueError, match=r"Ray is not installed; .* pip install -e '\.\[ray\]'"):
            list(map_shards(repeat, shards(tmp_path), cache=tmp_path / "cache", engine="ray"))
    pytest.importorskip("ray")
    with pytest.raises(ValueError, match="RAY_ADDRESS names no cluster"):
        list(map_shards(repeat, shards(tmp_path), cache=tmp_path / "cache", engine="ray"))


def test_changed_code_makes_results_again_and_a_changed_comment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    work, cache = shards(tmp_path, "a"), tmp_path / "cache"
    made = []
    for content in ("1", "1  # as before", "2"):
        code = f"def write(work, folder):\n    (folder / 'text').write_text(str({content}\n))\n"
        (tmp_path / "own_function.py").write_text(code)
        for known in (engine._code_of, fingerprint._read):
            known.cache_clear()
        sys.modules.pop("own_function", None)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        made += map_shards(importlib.import_module("own_function").write, work, cache=cache)
    assert made[0] == made[1] != made[2]
    assert [(entry / "text").read_text() for entry in made] == ["1", "1", "2"]


def test_the_code_of_modalities_counts_for_every_function() -> None:
    assert {"one", "mmcore.data.modalities.image", "mmcore.data.modalities.audio"} <= set(engine._modules("one", ()))


def test_what_a_killed_writer_left_aside_goes_with_the_next_work(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code = (
        "import os, sys; from pathlib import Path; from mmcore.data.engine import new_entry\n"
        "with new_entry(Path(sys.argv[1]) / 'repeat' / 'entry') as folder:\n"
        "    (folder / 'half').write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(cache)], check=False)
    (left,) = (cache / "repeat").iterdir()
    with engine.new_entry(cache / "repeat" / "other"):
        list(map_shards(repeat, shards(tmp_path, "a"), cache=cache))
        assert not left.exists()
        assert len([path for path in (cache / "repeat").iterdir() if path.name.startswith(".")]) == 1
