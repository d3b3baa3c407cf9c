"""`mmcore serve`: the champion on this machine, rebuilt from its release where the store lacks it."""

import dataclasses
import tempfile
from pathlib import Path

from mmcore import releases
from mmcore.evaluation.gate import model_hash
from mmcore.ledger import Ledger
from mmcore.plugins import import_plugins
from mmcore.serving import serve as server
from mmcore.serving.package import bento_path, package
from mmcore.serving.requests import place
from mmcore.settings import Settings
from mmcore.workspace import Workspace, read_json, trained


def serve(workspace: Workspace, settings: Settings, port: int | None, version: str | None) -> None:
    """Serve in the foreground until stopped. A LookupError says if nothing was released yet."""
    champion = releases.champion(workspace.root, settings.name)
    release = releases.find(workspace.root, settings.name, version) if version else champion
    if release is None:
        raise LookupError(f"{settings.name} has no champion yet; `mmcore run` makes the first release")
    tag = bento(workspace, settings, release)
    print(f"{release.name} {release.version}, Bento {tag}")
    address = dataclasses.replace(settings.serve, port=port) if port else settings.serve
    store, kept = workspace.state / "bentoml", place(workspace.state)
    packed = read_json(bento_path(store, tag) / "src" / "release" / "serve.json")
    if below := packed.get("ask_below"):
        print(f"requests whose answer is less likely than {below} are kept, with what was sent: {kept}")
    server.serve(tag, address, store, kept)


def bento(workspace: Workspace, settings: Settings, release: releases.Release) -> str:
    """The tag of the release's Bento; where the local store lacks it, it is built again from the release."""
    store = workspace.state / "bentoml"
    tag = f"{release.name}:{release.model_hash[:12]}"
    if bento_path(store, tag).is_dir():
        return tag
    import_plugins(workspace, settings)
    ledger = Ledger(workspace.root)
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder) / "tasks"
        ledger.fetch(release.commit, "artifacts/tasks", tasks)
        names = trained(tasks, sorted(path.name for path in tasks.iterdir()))
        if model_hash(tasks, names) != release.model_hash:
            raise ValueError(
                f"the weights that {release.name} {release.version} names were changed in the cache or remote"
            )
        return package(
            tasks,
            names,
            name=release.name,
            version=release.model_hash[:12],
            model_hash=release.model_hash,
            bentofile=workspace.root / "bentofile.yaml",
            requirements=workspace.root / "requirements",
            store=store,
            serve=settings.serve,
            plugins=settings.plugins,
        )
