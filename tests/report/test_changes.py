from pathlib import Path

from mmcore.data import store
from mmcore.data.difference import Side, compare
from mmcore.report import changes
from tests.data.test_ingest import picture


def write(root: Path, *rows: store.Row) -> Side:
    store.write_shards(root, "train", rows)
    store.write_manifest(root)
    return Side(store.read_manifest(root), lambda shard: root / shard.path)


def row(id: str, text: str) -> store.Row:
    return store.row(id=id, image=picture(len(id)), captions=[{"text": text, "lang": "en"}])


def page(root: Path, before: Side, after: Side) -> str:
    changes.build(compare(before, after), root / "index.html", name="photographs", before="v0.1.0", after="here")
    return (root / "index.html").read_text()


def test_the_page_shows_counts_and_pictures(tmp_path: Path):
    html = page(
        tmp_path,
        write(tmp_path / "a", row("one", "a dog")),
        write(tmp_path / "b", row("one", "a cat"), row("two", "x")),
    )
    assert html.count("data:image/png;base64,") == 2
    assert '<section id="added">' in html
    assert '<section id="changed">' in html
    assert '<section id="removed">' not in html


def test_whatever_the_data_hold_is_shown_as_text(tmp_path: Path):
    evil = "<script>alert(1)</script>"
    html = page(tmp_path, write(tmp_path / "a", row("one", "a dog")), write(tmp_path / "b", row(evil, evil)))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_equal_versions_have_a_page_too(tmp_path: Path):
    assert "No row differs." in page(tmp_path, *(write(tmp_path / name, row("one", "a dog")) for name in "ab"))
