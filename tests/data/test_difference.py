from pathlib import Path
from typing import Any

from mmcore.data import difference, store
from mmcore.data.difference import Difference, Side, compare
from mmcore.data.store import Shard


def row(id: str, text: str = "a dog", *, lang: str = "en", image: bytes | None = b"jpeg", **more: Any) -> store.Row:
    return store.row(id=id, image=image, captions=[{"text": text, "lang": lang}], **more)


def write(root: Path, **rows: list[store.Row]) -> Path:
    for split, made in rows.items():
        store.write_shards(root, split, made, rows_per_shard=2)
    store.write_manifest(root)
    return root


def side(root: Path, opened: list[str] | None = None) -> Side:
    def open_shard(shard: Shard) -> Path:
        if opened is not None:
            opened.append(shard.path)
        return root / shard.path

    return Side(store.read_manifest(root), open_shard)


def between(before: Path, after: Path) -> Difference:
    return compare(side(before), side(after))


def test_equal_versions_differ_in_nothing_and_no_shard_is_opened(tmp_path: Path):
    rows = [row("a"), row("b"), row("c")]
    one, two = write(tmp_path / "one", train=rows), write(tmp_path / "two", train=rows)
    opened: list[str] = []
    found = compare(side(one, opened), side(two, opened))
    assert found.empty
    assert opened == []
    assert difference.in_words(found) == "no row differs (2 shards are the same, 0 were read)"


def test_only_the_shards_that_differ_are_opened(tmp_path: Path):
    before = write(tmp_path / "one", train=[row("a"), row("b")])
    after = write(tmp_path / "two", train=[row("a"), row("b"), row("c")])
    opened: list[str] = []
    found = compare(side(before, opened), side(after, opened))
    assert opened == ["train/part-00001.parquet"]
    assert found.rows["added"] == {"train": 1}


def test_rows_are_counted_by_kind_split_modality_and_language(tmp_path: Path):
    before = write(
        tmp_path / "one", train=[row("stays"), row("goes"), row("changes", "a cat")], test=[row("moves"), row("also")]
    )
    after = write(
        tmp_path / "two", train=[row("stays"), row("changes", "a lion", lang="zh"), row("moves")],
        test=[row("also"), row("comes", image=None), row("sounds", image=None, audio=b"wav", lang="zh")],
    )  # fmt: skip
    found = between(before, after)
    assert {kind: dict(counts) for kind, counts in found.rows.items()} == {
        "added": {"test": 2}, "removed": {"train": 1}, "changed": {"train": 1}, "moved": {"train": 1},
    }  # fmt: skip
    assert found.modalities["added"] == {("test", "text"): 1, ("test", "audio"): 1}
    assert found.languages["added"] == {("test", "en"): 1, ("test", "zh"): 1}
    assert difference.table(found) == [
        ("train", [0, 1, 1, 1]), ("  image", [0, 1, 1, 1]), ("  en", [0, 1, 0, 1]), ("  zh", [0, 0, 1, 0]),
        ("test", [2, 0, 0, 0]), ("  audio", [1, 0, 0, 0]), ("  text", [1, 0, 0, 0]), ("  en", [1, 0, 0, 0]),
        ("  zh", [1, 0, 0, 0]),
    ]  # fmt: skip


def test_a_changed_row_says_what_changed(tmp_path: Path):
    before = [row("text", "a cat"), row("media"), row("tag"), row("label", labels={"kind": "cat"})]
    after = [
        row("text", "a lion"), row("media", image=b"other"), row("tag", lang="zh"), row("label", labels={"kind": "dog"})
    ]  # fmt: skip
    found = between(write(tmp_path / "one", train=before), write(tmp_path / "two", train=after))
    said = {sample.id: sample.details for sample in found.samples["changed"]}
    assert said["media"] == "its media"
    assert said["label"] == "labels: cat → dog"
    assert said["text"] == "captions: a cat → a lion"
    assert said["tag"] == "captions: en → zh"


def test_a_text_that_came_or_went_stands_against_null(tmp_path: Path):
    more = store.row(id="a", captions=[{"text": "one", "lang": "en"}, {"text": "two", "lang": "en"}])
    less = store.row(id="a", captions=more["captions"][:1])
    found = between(write(tmp_path / "one", train=[more]), write(tmp_path / "two", train=[less]))
    assert found.samples["changed"][0].details == 'captions: {"text": "two", "lang": "en"} → null'


def test_rows_in_other_shards_or_another_order_are_the_same_rows(tmp_path: Path):
    one = write(tmp_path / "one", train=[row("a"), row("b"), row("c")])
    two = write(tmp_path / "two", train=[row("c"), row("b"), row("a")])
    assert between(one, two).empty


def test_the_words_show_counts_and_the_first_of_each_kind(tmp_path: Path):
    before = write(tmp_path / "one", train=[row("a")])
    after = write(
        tmp_path / "two", train=[row("a"), *(row(f"new-{number}", "一只狗", lang="zh") for number in range(9))]
    )
    words = difference.in_words(between(before, after))
    assert words.splitlines()[1].split() == ["train", "9", "·", "·", "·"]
    assert "added, 6 of 9:" in words
    assert "new-0  (train, image, zh)  一只狗" in words
