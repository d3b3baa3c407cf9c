import json
from pathlib import Path

import pytest

from mmcore.data.importers import _json_arrays
from mmcore.data.importers._json_arrays import elements


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_elements_are_the_same_whatever_is_in_memory(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {
        "skip": [{"a": [1]}],
        "n": 12,
        "images": [{"id": 1, "x": ']}"'}, 123, "ü"],
        "e": [],
        "notes": [None, 4.5],
    }
    (tmp_path / "a.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    monkeypatch.setattr(_json_arrays, "CHUNK", chunk)
    found = list(elements(tmp_path / "a.json", "images", "notes"))
    assert found == [("images", one) for one in content["images"]] + [("notes", None), ("notes", 4.5)]  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["[1]", '{"a": [1, 2', '{"a": [1 2]}', '{"a"', "", '{"a": [' + "[" * 100_000])
def test_what_is_no_object_or_breaks_off_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json is not valid JSON after"):
        list(elements(tmp_path / "a.json", "a"))


def test_what_stands_before_the_break_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2, {"b"')
    found = elements(tmp_path / "a.json", "a")
    assert [next(found), next(found)] == [("a", 1), ("a", 2)]
