import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import mmcore
from mmcore.commands import init
from tests.conftest import ROOT


def required(root: Path) -> Requirement:
    (line,) = (line for line in (root / "requirements.txt").read_text().splitlines() if not line.startswith("#"))
    return Requirement(line)


def test_a_project_asks_for_the_mmcore_that_wrote_it(tmp_path: Path) -> None:
    init.write(tmp_path / "own")
    wanted = required(tmp_path / "own")
    assert (wanted.name, wanted.url) == ("mmcore", ROOT.as_uri())


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (
            {"url": "https://example.org/mmcore.git", "vcs_info": {"vcs": "git", "commit_id": "0123abcd"}},
            "mmcore@ git+https://example.org/mmcore.git@0123abcd",
        ),
        ({"url": "file:///wheels/mmcore.whl", "archive_info": {}}, "mmcore@ file:///wheels/mmcore.whl"),
        (None, f"mmcore=={mmcore.__version__}"),
    ],
)
def test_an_installed_mmcore_is_asked_for_where_it_came_from(
    tmp_path: Path, origin: dict[str, object] | None, wanted: str
) -> None:
    """`origin`: what pip notes of an installation that is not from an index."""
    site = tmp_path / "site"
    shutil.copytree(ROOT / "mmcore", site / "mmcore", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*init.FILES, *init.FOLDERS):
        place = site / "mmcore" / "template" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / name, place) if (ROOT / name).is_dir() else shutil.copyfile(ROOT / name, place)
    notes = site / f"mmcore-{mmcore.__version__}.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: mmcore\nVersion: {mmcore.__version__}\n")
    if origin:
        (notes / "direct_url.json").write_text(json.dumps(origin))
    subprocess.run(
        [sys.executable, "-m", "mmcore", "init", "own"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True, check=True,
    )  # fmt: skip
    assert str(required(tmp_path / "own")) == str(Requirement(wanted))


def test_every_target_that_a_makefile_names_is_there(tmp_path: Path) -> None:
    init.write(tmp_path / "own")
    for makefile in (ROOT / "Makefile", tmp_path / "own" / "Makefile"):
        text = makefile.read_text()
        named = set(re.findall(r"`make (\w+)`", text)) | set(
            " ".join(re.findall(r"^\.PHONY: (.*)$", text, re.M)).split()
        )
        assert named <= set(re.findall(r"^([\w-]+):", text, re.M))
