"""The blocks of settings in docs/models.md and docs/training.md: what a reader copies is accepted and can be built."""

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from mmcore import params
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.tasks import TASKS
from mmcore.training.adapters import ADAPTERS
from mmcore.training.costs import Imagined
from tests.conftest import ROOT

# Parts and weights that lie on the reader's machine: their names are not looked up.
ELSEWHERE = ("/models/", "plugins:")


def blocks() -> list[Any]:
    found = []
    for page in ("models", "training"):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        for match in re.finditer(r"```yaml\n(.*?)```", text, re.DOTALL):
            found.append(pytest.param(match[1], id=f"{page}.md:{text.count(chr(10), 0, match.start()) + 1}"))
    return found


def laid_over(settings: Any, changes: dict[str, Any]) -> None:
    """Each key in the place of the same key; a table of settings by its own keys, a table of parts as a whole."""
    for key, value in changes.items():
        if key in ("model", "prepare", "pretrain", "finetune"):
            laid_over(settings[key], value)
        else:
            settings[key] = value


@pytest.mark.parametrize("block", blocks())
def test_a_block_of_settings_is_accepted_and_builds(block: str) -> None:
    document = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    own = YAML(typ="safe").load(block)
    of_a_task = set(own) <= set(document["finetune"]["sentiment"])
    laid_over(document["finetune"]["sentiment"] if of_a_task else document, own)
    settings = params.parse(document, "docs")
    if any(word in block for word in ELSEWHERE):
        return
    model = MultimodalModel(settings.model, Processor.made_up(settings.prepare))
    assert set(model.encoders) == set(settings.model.encoders)
    sections = own.get("finetune", {"sentiment": own} if of_a_task else {})
    told = [one for name in sections for one in settings.finetune[name].beside]
    rows = Imagined(model.processor, 2, ["sentiment", "breed"])
    for spec in [*(settings.pretrain.objectives if "pretrain" in own else []), *told]:
        model.add_heads(OBJECTIVES.build(spec).heads(rows))
    for name in sections:
        model.add_heads(TASKS.build(settings.finetune[name].task).heads(rows))
        adapter = settings.finetune[name].adapter
        if adapter is not None:
            ADAPTERS.build(adapter)
