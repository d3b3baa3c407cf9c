"""`mmcore data diff A B`: what happened to the rows between two versions of the data."""

import argparse
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmcore import params, releases
from mmcore.data import store
from mmcore.data.difference import Side, compare, in_words
from mmcore.data.store import Shard
from mmcore.ledger import Ledger
from mmcore.objects import LIST, Cache, Version
from mmcore.report.changes import build
from mmcore.workspace import Workspace, hash_file

HERE = "data/ as it lies here"


def run(workspace: Workspace, arguments: argparse.Namespace) -> str:
    """Compare; returns the counts and samples as text. A page with pictures is left in artifacts/diff/."""
    ledger, name = Ledger(workspace.root), params.load(workspace.params).name
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
    commit = revision
    if re.fullmatch(r"v?\d+\.\d+\.\d+", revision):
        commit = releases.find(ledger.root, name, revision).commit
    try:
        pointer = yaml.safe_load(ledger.read(commit, "data.dvc"))
    except FileNotFoundError:
        raise LookupError(f"{revision} records no data (it has no data.dvc)") from None
    objects = _Objects(ledger, ledger.cache(), revision)
    listed = objects.file(str(pointer["outs"][0]["md5"]), "the list of its data").read_bytes()
    files = Version.read(str(pointer["outs"][0]["md5"]), listed).files
    manifest = objects.file(files[store.MANIFEST], store.MANIFEST).read_bytes()

    def open_shard(shard: Shard) -> Path:
        path = objects.file(files[shard.path], shard.path)
        if hash_file(path) != shard.sha256:
            raise ValueError(f"{shard.path} of {revision} is damaged in the cache; replace it: mmcore data verify")
        return path

    return Side(store.manifest_of(json.loads(manifest), f"{store.MANIFEST} of {revision}"), open_shard)


@dataclass(frozen=True)
class _Objects:
    """Files by their MD5: those of the cache, where need be fetched from the remote first."""

    ledger: Ledger
    cache: Cache
    revision: str

    def file(self, md5: str, name: str) -> Path:
        path = self.cache.path(md5)
        if not path.is_file():
            remote = self.ledger.remote()
            content = remote.fetch(md5, self.cache) if remote else None
            if content is None or not path.is_file():
                where = str(remote) if remote else "no remote is set up"
                raise LookupError(f"{name} of {self.revision} is not in the cache, and {where} does not have it intact")
        if md5.endswith(LIST) and hashlib.md5(path.read_bytes()).hexdigest() != md5.removesuffix(LIST):
            raise ValueError(f"{name} of {self.revision} is damaged in the cache; replace it: mmcore data verify")
        return path
