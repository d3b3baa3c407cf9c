"""The settings of a project together with the modules of its own that they name."""

import importlib
import sys

from mmcore import params
from mmcore.settings import Settings
from mmcore.workspace import Workspace


def load_settings(workspace: Workspace) -> Settings:
    """The settings of the project, its plugins imported, so that what they add can be found by name."""
    settings = params.load(workspace.params)
    import_plugins(workspace, settings)
    return settings


def import_plugins(workspace: Workspace, settings: Settings) -> None:
    """Let the modules that `plugins` names enter their components; LookupError for one that cannot be found."""
    # `python -m mmcore` looks into the project's folder by itself, the command `mmcore` does not.
    if str(workspace.root) not in sys.path:
        sys.path.insert(0, str(workspace.root))
    for plugin in settings.plugins:
        try:
            importlib.import_module(plugin)
        except ModuleNotFoundError as error:
            if error.name not in (plugin, plugin.partition(".")[0]):
                raise
            raise LookupError(
                f"the plugin '{plugin}' cannot be found; put it into {workspace.root} or on the Python path"
            ) from None
