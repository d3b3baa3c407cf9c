"""The model that a pretraining goes on from."""

from pathlib import Path

from mmcore import releases
from mmcore.models import saved
from mmcore.settings import Settings
from mmcore.workspace import Workspace


def find(workspace: Workspace, settings: Settings) -> Path | None:
    """The folder of the model that `pretrain.init` names; null for scratch, and where there is no champion yet.
    ValueError if there is no such model."""
    init = settings.pretrain.init
    if init == "scratch":
        return None
    if init == "champion":
        return releases.champions_pretrained(workspace, settings.name)
    try:
        return saved.find(init, workspace.root)
    except FileNotFoundError as error:
        raise ValueError(
            f"pretrain.init is '{init}', and {error}. It may be scratch, champion, the folder of a saved model, or "
            "OWNER/NAME on the hub"
        ) from error
