"""`mmcore plan --costs`: what pretraining takes on this machine, also with settings that are not applied."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmcore import params, stages
from mmcore.training.costs import costs
from mmcore.workspace import Workspace


def plan_costs(workspace: Workspace, preset: str | None, assignments: Sequence[str]) -> str:
    """Lines on size, operations, memory and time with a preset and settings, which are not applied."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(workspace.params, folder))
        presets = [params.preset(workspace.root, preset)] if preset else []
        params.change(path, presets=presets, assignments=assignments)
        settings = params.load(path)
    stages.import_plugins(workspace, settings)
    return "\n".join(costs(settings).lines(settings.pretrain.optim.steps))
