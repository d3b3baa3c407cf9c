import dataclasses
from pathlib import Path

import pytest

from mmcore.params import load
from mmcore.training.rehearsal import rehearse
from tests.conftest import ROOT


@pytest.mark.parametrize(("engine", "said"), [("spark", "choose one of: local, ray"), ("ray", "data.engine is ray, ")])
def test_an_engine_that_cannot_be_used_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, said: str
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = load(ROOT / "params.yaml")
    with pytest.raises(ValueError, match=said):
        rehearse(tmp_path, dataclasses.replace(settings, data=dataclasses.replace(settings.data, engine=engine)))
