"""The only caller of DVC: what must run, what was made, and where every version of it lies.

`dvc.repo.Repo` is not a documented interface, so everything this project asks of it stands here, against an exact
pin, with a contract test. Nothing else imports dvc but `releases.py`.
"""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.repo import Repo

from mmcore.objects import Cache, Reader, Remote, fault, printable
from mmcore.workspace import read_yaml, recover_folder, sync_folder, write_bytes

IDENTITY = ("mmcore", "mmcore@localhost")


@dataclass(frozen=True)
class Change:
    """Why a stage would run: `reasons` in words, empty if it would not."""

    stage: str
    reasons: list[str]


class _WholeFiles(LocalFileSystem):  # type: ignore[misc]
    """Where DVC keeps its lock file: a kill leaves the old one or the new one.

    DVC itself writes over the old one, for some 60 ms at the size of ours: killed then, it would leave a part, which
    names stages without their outputs, or cannot be read at all.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._aside = root / ".dvc" / "tmp" / "aside"

    def open(self, path: str, mode: str = "r", **options: Any) -> contextlib.AbstractContextManager[IO[Any]]:
        return self._whole(Path(path)) if mode == "w+" else super().open(path, mode, **options)

    @contextlib.contextmanager
    def _whole(self, path: Path) -> Iterator[IO[str]]:
        self._aside.parent.mkdir(exist_ok=True)
        with open(self._aside, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._aside, path)
        sync_folder(path.parent)


class Ledger:
    """DVC in one project folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / ".dvc").is_dir():
            raise FileNotFoundError(f"{root} is no DVC project; run `dvc init` there (with git: after `git init`)")
        # DVC runs a stage's command through the user's shell with the user's PATH: ours must find our Python first.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        os.environ["SHELL"] = "/bin/sh"

    @contextlib.contextmanager
    def _repo(self) -> Iterator[Repo]:
        logging.getLogger("dvc").setLevel(logging.ERROR)
        here = os.getcwd()
        # DVC reports stages on standard output; what people see is the caller's to decide.
        with contextlib.redirect_stdout(io.StringIO()):
            os.chdir(self.root)
            try:
                with Repo(str(self.root), fs=_WholeFiles(self.root)) as repo:
                    yield repo
            finally:
                os.chdir(here)

    # Building -----------------------------------------------------------------------------------------------------

    def reproduce(self, stage: str) -> bool:
        """Bring one stage up to date; whether anything had to be done (run, or restored from the cache).

        Raises RuntimeError if the stage's command fails.
        """
        with self._repo() as repo:
            try:
                return bool(repo.reproduce(targets=[stage], single_item=True))
            except DvcException as error:
                raise RuntimeError(_whole_story(error)) from error

    def changes(self, stages: Sequence[str]) -> list[Change]:
        """For each stage the dependencies and settings that differ from its last run, as DVC sees them."""
        with self._repo() as repo:
            status = repo.status(targets=list(stages))
        known = read_yaml(self.root / "dvc.lock")["stages"] if (self.root / "dvc.lock").exists() else {}
        return [
            Change(stage, _reasons(status.get(stage, [])) if stage in known else ["it has not run yet"])
            for stage in stages
        ]

    # Data ---------------------------------------------------------------------------------------------------------

    def data_state(self) -> str:
        """`absent`, `changed` (data/ is not what data.dvc says) or `same`; then the cache holds them, too."""
        if not (self.root / "data").is_dir():
            return "absent"
        with self._repo() as repo:
            status = repo.status(targets=["data.dvc"])
        if not status:
            return "same"
        if "not in cache" not in str(status):
            return "changed"
        # A folder that was copied here: DVC looks at the cache first and says nothing of the files themselves.
        recorded = (self.root / "data.dvc").read_bytes()
        before = self.data_hash()
        same = False
        try:
            self.add_data()
            same = self.data_hash() == before
        finally:
            if not same:
                write_bytes(self.root / "data.dvc", recorded)
        return "same" if same else "changed"

    def data_hash(self, revision: str | None = None) -> str:
        """The version of data/ that data.dvc names, here or in `revision`: the MD5 of the list of its files, with
        `.dir` behind it. LookupError if the revision does not exist or records no data."""
        if revision is None:
            content = (self.root / "data.dvc").read_text(encoding="utf-8")
        else:
            try:
                content = self.read(revision, "data.dvc")
            except FileNotFoundError:
                raise LookupError(f"{revision} records no data (it has no data.dvc)") from None
        return str(yaml.safe_load(content)["outs"][0]["md5"])

    def add_data(self) -> None:
        """Make data.dvc name what lies in data/."""
        with self._repo() as repo:
            repo.add(["data"])

    def checkout_data(self) -> None:
        """Make data/ what data.dvc names, from the cache alone; RuntimeError if that fails."""
        with self._repo() as repo:
            try:
                repo.checkout(["data.dvc"], force=True)
            except DvcException as error:
                raise RuntimeError(_whole_story(error)) from error

    # Where the bytes lie --------------------------------------------------------------------------------------------

    def cache(self) -> Cache:
        """The objects on this machine."""
        with self._repo() as repo:
            return Cache(Path(repo.cache.local.path))

    def remote(self, name: str | None = None) -> Remote | None:
        """The remote `name`, or the default one; None if there is no default. LookupError if it is not set up."""
        with self._repo() as repo:
            name = name or repo.config["core"].get("remote")
            if name is None:
                return None
            try:
                objects = repo.cloud.get_remote_odb(name, "mmcore data")
                url = printable(str(repo.config["remote"][name]["url"]))
                return Remote(name, url, objects.fs, objects.path)
            except (DvcException, ImportError) as error:
                known = ", ".join(sorted(repo.config["remote"])) or "none"
                raise LookupError(
                    f"the remote '{name}' cannot be used: {printable(_whole_story(error))}; there are: {known}; "
                    "add one: dvc remote add -d NAME URL"
                ) from error

    # Versions -----------------------------------------------------------------------------------------------------

    def save(self, name: str, message: str) -> str:
        """Save the folder as it is as the experiment `name`; returns its commit. The branch is not touched."""
        with self._repo() as repo, git_identity(self.root):
            untracked = [path for path in repo.scm.untracked_files() if path != "dvc.lock"]
            commit = repo.experiments.save(name=name, include_untracked=untracked, message=message, force=True)
        assert commit, "DVC saved no experiment"
        return str(commit)

    def experiments(self) -> dict[str, str]:
        """The commit of every saved experiment, by name."""
        lines = self._git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines()
        found = (line.split() for line in lines)
        return {ref.rsplit("/", 1)[1]: commit for commit, ref in found if not ref.startswith("refs/exps/exec")}

    def fetch(self, revision: str, path: str, destination: Path) -> None:
        """Copy the file or folder `path` as `revision` has it to `destination`, which is not there yet, from the cache
        or a remote; it is there whole or not at all.

        ValueError names a file whose bytes are not those that were recorded; then nothing is left of the copy.
        """
        files = self._files(revision)
        folder = files.isdir(path)
        aside = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
        destination.parent.mkdir(parents=True, exist_ok=True)
        recover_folder(destination)  # a killed fetch may have left its part aside
        files.get(path, str(aside), recursive=folder)
        for name in files.find(path) if folder else [path]:
            recorded = files.info(name).get("md5")
            if recorded is None:  # a file that git keeps, and checks by itself
                continue
            trouble = fault(recorded, Reader().read(aside / PurePosixPath(name).relative_to(path)))
            if trouble:
                shutil.rmtree(aside) if folder else aside.unlink()
                raise ValueError(
                    f"{name} of {revision} {trouble} in the cache or on the remote; restore it from a copy"
                )
        os.replace(aside, destination)
        sync_folder(destination.parent)

    def read(self, revision: str, path: str) -> str:
        """The text of the file `path` as `revision` has it."""
        return str(self._files(revision).read_text(path))

    def _files(self, revision: str) -> DVCFileSystem:
        commit = self.experiments().get(revision, revision)
        try:
            self._git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
        except RuntimeError:
            raise LookupError(f"there is no commit, tag, run or release '{revision}' here") from None
        return DVCFileSystem(str(self.root), rev=commit)

    def commit(self) -> str:
        """The commit that is checked out, with `-dirty` behind it if tracked files differ."""
        return self._git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").strip()

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", str(self.root), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"git {words[0]} failed: {done.stderr.strip()}")
        return done.stdout


@contextlib.contextmanager
def git_identity(root: Path) -> Iterator[None]:
    """Give git a name to commit with where the user has set none."""
    known = subprocess.run(["git", "-C", str(root), "config", "user.email"], capture_output=True, check=False)
    missing = {} if known.returncode == 0 else {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in zip(("NAME", "EMAIL"), IDENTITY, strict=True)
        if f"GIT_{role}_{field}" not in os.environ
    }  # fmt: skip
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def check_git(root: Path) -> None:
    """Raise FileNotFoundError unless `root` is a git checkout with at least one commit and a DVC project."""
    top = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if top.returncode:
        inside = (root / ".git").exists()
        fix = "git add -A && git commit -m start" if inside else "git init && git add -A && git commit -m start"
        what = "has no commit yet" if inside else "is no git repository"
        raise FileNotFoundError(f"{root} {what}, and every run is recorded as one; do there: {fix}")


def _reasons(entries: Sequence[Any]) -> list[str]:
    reasons: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            reasons.append(entry)
            continue
        for kind, changes in entry.items():
            for path, change in changes.items():
                if isinstance(change, dict):
                    reasons += [f"{key} is {what}" for key, what in change.items()]
                elif path == "params.yaml":
                    reasons.append("its settings are new")
                elif path.startswith("artifacts/code/"):
                    reasons.append("its code changed")
                elif kind == "changed outs" and change == "modified" and len(entries) > 1:
                    continue
                else:
                    reasons.append(f"{path} is {change}")
    return reasons


def _whole_story(error: BaseException) -> str:
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        parts.append(str(current))
        current = current.__cause__
    return "; ".join(dict.fromkeys(part for part in parts if part))
