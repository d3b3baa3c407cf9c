"""Where a saved model lies that is named by its folder, or by its id on the Hugging Face Hub."""

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from mmcore.workspace import MODEL_FILES

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@(\S+))?", re.ASCII)


def find(name: str, root: Path) -> Path:
    """The folder of the model `name`: a folder, seen from `root`, or else `OWNER/NAME` of the hub, `@REVISION` (a
    commit, tag or branch) behind it where it is not to be that of the branch main. FileNotFoundError says what is
    missing and how to get it."""
    if (folder := root / name).is_dir():
        return _whole(folder)
    hub_id = _HUB_ID.fullmatch(name)
    if hub_id is None:
        raise FileNotFoundError(f"there is no folder '{name}' in {root.resolve()}")
    try:
        return fetched(*hub_id.groups())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no folder '{name}' in {root.resolve()}, and {error}") from error


def fetched(hub_id: str, revision: str | None = None) -> Path:
    """The folder in the local cache of the hub, where the model is downloaded to unless it is there already.

    Without a network the cache alone counts; FileNotFoundError if the model is not in it, with the command that
    fetches it.
    """
    try:
        folder = snapshot_download(hub_id, revision=revision, allow_patterns=list(MODEL_FILES))
    except (OSError, ValueError) as error:
        pinned = f" --revision {revision}" if revision else ""
        raise FileNotFoundError(
            f"the model '{hub_id}' can neither be downloaded nor found in the local cache of the hub "
            f"({str(error).splitlines()[0]}); fetch it where there is a network: "
            f"hf download {hub_id} {' '.join(MODEL_FILES)}{pinned}"
        ) from error
    return _whole(Path(folder))


def _whole(folder: Path) -> Path:
    for name in MODEL_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no saved model: {name} is missing there")
    return folder
