"""`mmcore data diff A B`: what happened to the rows between two versions of the data."""

import argparse
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmcore import releases
from mmcore.data import store
from mmcore.data.difference import Side, compare, in_words
from mmcore.data.store import Shard
from mmcore.ledger import Ledger
from mmcore.objects import Cache, Reader, Remote, Version, fault
from mmcore.plugins import load_settings
from mmcore.remotes import SEND_AGAIN
from mmcore.report.changes import build
from mmcore.workspace import Workspace

HERE = "data/ as it lies here"


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Compare; returns the counts and samples as text. A page with pictures is left in artifacts/diff/."""
    ledger, name = Ledger(workspace.root), load_settings(workspace).name
    before = _recorded(ledger, name, arguments.a)
    after = _recorded(ledger, name, arguments.b) if arguments.b else _lying(workspace.data)
    found = compare(before, after)
    page = workspace.artifacts / "diff" / "index.html"
    build(found, page, name=name, before=arguments.a, after=arguments.b or HERE)
    return f"{arguments.a} → {arguments.b or HERE}\n{in_words(found)}\npictures: {page.relative_to(workspace.root)}"


def _lying(data: Path) -> Side:
    def open_shard(shard: Shard) -> Path:
        store.check_shard(data / shard.path)
        return data / shard.path

    return Side(store.read_manifest(data), open_shard)


def _recorded(ledger: Ledger, name: str, revision: str) -> Side:
    """The data as a commit, tag, run or release has them; of its files only those that are asked for are fetched."""
    listed = ledger.data_hash(releases.revision(ledger.root, name, revision))
    objects = _Objects(ledger, ledger.cache(), revision)
    files = Version.read(listed, objects.file(listed, "the list of its files").read_bytes()).files
    manifest = objects.file(files[store.MANIFEST], store.MANIFEST).read_bytes()

    def open_shard(shard: Shard) -> Path:
        return objects.file(files[shard.path], shard.path)

    return Side(store.manifest_of(json.loads(manifest), f"{store.MANIFEST} of {revision}"), open_shard)


@dataclass(frozen=True)
class _Objects:
    """Files by their MD5: those of the cache, where need be fetched from the remote first. All of them are hashed."""

    ledger: Ledger
    cache: Cache
    revision: str
    reader: Reader = field(default_factory=Reader)

    @cached_property
    def remote(self) -> Remote | None:
        return self.ledger.remote()

    def file(self, md5: str, name: str) -> Path:
        """Where the object lies, intact; ValueError if neither the cache nor the remote has it so."""
        path = self.cache.path(md5)
        here = fault(md5, self.reader.read(path))
        if not here:
            return path
        if self.remote is None:
            raise ValueError(
                f"{name} of {self.revision} {here} in the cache, and no remote is set up to fetch it from; add the one "
                "it was pushed to: dvc remote add -d NAME URL"
            )
        there = fault(md5, self.remote.fetch(md5, self.cache))
        if there:
            raise ValueError(
                f"{name} of {self.revision} {here} in the cache and {there} on {self.remote}; {SEND_AGAIN}"
            )
        return path
