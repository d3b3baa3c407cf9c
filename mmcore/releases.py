"""Releases are git tags (written by gto): `NAME@v0.2.0` on the experiment that made it, and `NAME#champion#3` for
the third change of champion. There is no other registry; a tag is one atomic step, so nothing is half released."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gto.api import assign, history
from gto.api import register as gto_register

from mmcore.ledger import Ledger, git_identity
from mmcore.workspace import Workspace

CHAMPION = "champion"


@dataclass(frozen=True)
class Release:
    """One version. `promotions`: the numbers of the champion tags that named it, the last one counts."""

    name: str
    version: str
    commit: str
    model_hash: str
    created: datetime
    promotions: tuple[int, ...]


def releases(root: Path, name: str) -> list[Release]:
    """All versions of `name`, the newest first."""
    events = history(str(root), name)
    promotions: dict[str, list[int]] = {}
    for event in events:
        number = re.fullmatch(rf".*#{CHAMPION}#(\d+)", event["ref"])
        if event["event"] == "assignment" and number:
            promotions.setdefault(event["version"], []).append(int(number[1]))
    found = [
        Release(
            name=name,
            version=event["version"],
            commit=event["commit"],
            model_hash=event["message"].strip().rpartition(" ")[2],
            created=event["timestamp"],
            promotions=tuple(sorted(promotions.get(event["version"], []))),
        )
        for event in events
        if event["event"] == "registration"
    ]
    return sorted(found, key=lambda release: _number(release.version), reverse=True)


def champion(root: Path, name: str) -> Release | None:
    """The version that was promoted last, None before the first promotion."""
    promoted = [release for release in releases(root, name) if release.promotions]
    return max(promoted, key=lambda release: release.promotions[-1], default=None)


def champions_pretrained(workspace: Workspace, name: str) -> Path | None:
    """The folder of the pretrained model that the champion's were fine-tuned from, fetched once from the cache or a
    remote; None before the first promotion."""
    found = champion(workspace.root, name)
    if found is None:
        return None
    folder = workspace.state / "champions" / f"{found.commit[:16]}-pretrained"
    if not folder.exists():
        Ledger(workspace.root).fetch(found.commit, "artifacts/pretrained", folder)
    return folder


def find(root: Path, name: str, version: str) -> Release:
    """The release `version`; a LookupError lists what there is."""
    known = releases(root, name)
    for release in known:
        if version in (release.version, release.version.removeprefix("v")):
            return release
    versions = ", ".join(release.version for release in known) or "none yet; `mmcore run` makes the first"
    raise LookupError(f"{name} has no release '{version}'; there are: {versions}")


def revision(root: Path, name: str, words: str) -> str:
    """The git revision that a person means: the tag of a version (`v0.2.0`, `0.2.0`), anything else as it is.

    LookupError lists the versions there are.
    """
    if re.fullmatch(r"v?\d+\.\d+\.\d+", words):
        return f"{name}@{find(root, name, words).version}"
    return words


def register(root: Path, name: str, commit: str, model_hash: str) -> Release:
    """The release of the model `model_hash`: a new version on `commit`, or the one there is if a run was cut short
    after it had made the tag."""
    known = releases(root, name)
    for release in known:
        if release.model_hash == model_hash:
            return release
    major, minor, _ = _number(known[0].version) if known else (0, 0, 0)
    version = f"v{major}.{minor + 1}.0"
    with git_identity(root):
        gto_register(str(root), name, commit, version=version, message=f"{name} {version}, model {model_hash}")
    return find(root, name, version)


def promote(root: Path, name: str, version: str) -> Release:
    """Make `version` the champion; one that is the champion already stays so."""
    release = find(root, name, version)
    if champion(root, name) != release:
        with git_identity(root):
            assign(str(root), name, CHAMPION, version=release.version, force=True)
    return find(root, name, version)


def rollback(root: Path, name: str) -> Release:
    """Make the champion before the present one the champion again; a LookupError if there was none."""
    present = champion(root, name)
    order = sorted((number, release) for release in releases(root, name) for number in release.promotions)
    earlier = [release for _, release in order if present and release.version != present.version]
    if not earlier:
        raise LookupError(f"{name} has had no other champion to go back to; see `mmcore release list`")
    return promote(root, name, earlier[-1].version)


def _number(version: str) -> tuple[int, int, int]:
    major, minor, patch = re.findall(r"\d+", version)[:3]
    return int(major), int(minor), int(patch)
