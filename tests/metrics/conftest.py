import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def values_folder() -> Path:
    """Values that other implementations computed; MMCORE_METRIC_REFS names the folder, without it nothing is compared.

    Beside the checkout the folder is found by itself.
    """
    beside = Path(__file__).parents[3] / "shared" / "data" / "metric_refs"
    folder = Path(os.environ.get("MMCORE_METRIC_REFS", beside))
    if not folder.is_dir():
        pytest.skip("the values of other implementations are not on this machine")
    return folder


@pytest.fixture
def read(values_folder: Path) -> Callable[[str], Any]:
    """Reads one JSON or JSON-lines file of that folder."""

    def read(name: str) -> Any:
        text = (values_folder / name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)

    return read


@pytest.fixture
def by_sample() -> Callable[[list[list[str]]], list[list[str]]]:
    """From one list per reference to one list per sample."""
    return lambda streams: [list(texts) for texts in zip(*streams, strict=True)]
