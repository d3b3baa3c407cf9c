"""`mmcore init`: a project of one's own, written from the very files this project runs on."""

import json
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import mmcore
from mmcore.workspace import write_bytes

FILES = (
    "params.yaml",
    "dvc.yaml",
    "bentofile.yaml",
    "data.dvc",
    "requirements/bento.txt",
    "requirements/bento-transformers.txt",
    ".dvc/config",
    ".dvc/plots/curve.json",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
)
FOLDERS = ("flows", "presets", "validation")

MAKEFILE = """\
# `make run` sets everything up and runs the main job.
PYTHON ?= python3.11
FIND_LINKS := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

run: .venv/ready
\t@.venv/bin/mmcore run $(ARGS)

.venv/ready: requirements.txt
\t@$(PYTHON) -m venv .venv
\t@.venv/bin/pip install --quiet --disable-pip-version-check uv
\t@UV_FIND_LINKS="$(FIND_LINKS)" .venv/bin/uv pip install --quiet --python .venv/bin/python -r requirements.txt
\t@touch $@

.PHONY: run
"""

REQUIREMENTS = """\
# Extras go into brackets behind the name: mmcore[media,s3]
{requirement}
"""

README = """\
# {name}

A project on mmcore {version}. `make run` runs it here. Your own data come in with
`mmcore data import SOURCE --format imagefolder --replace --name {name}`; `mmcore plan` says what a run would do and
why; `mmcore --help` lists the rest.
Every number of a run stands in `params.yaml`.
"""


def write(path: Path) -> str:
    """Write the project into the new or empty folder `path`; returns what to type next."""
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty; name a new folder")
    source = _source()
    for name in FILES:
        write_bytes(path / name, (source / name).read_bytes())
    for folder in FOLDERS:
        for file in sorted((source / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                write_bytes(path / file.relative_to(source), file.read_bytes())
    write_bytes(path / "Makefile", MAKEFILE.encode())
    write_bytes(path / "requirements.txt", REQUIREMENTS.format(requirement=_requirement()).encode())
    write_bytes(path / "README.md", README.format(name=path.name, version=mmcore.__version__).encode())
    if subprocess.run(["git", "-C", str(path), "rev-parse"], capture_output=True, check=False).returncode:
        subprocess.run(["git", "init", "--quiet", str(path)], check=True)
    return f"a project lies in {path}; next:\n  cd {path}\n  git add -A && git commit -m start\n  mmcore run"


def _source() -> Path:
    """The folder of the template: inside the installed package, or the checkout of an editable install."""
    package = Path(mmcore.__file__).parent
    installed = package / "template"
    return installed if installed.is_dir() else package.parent


def _requirement() -> str:
    """What installs this very mmcore. By its name alone an index gives a project of the same name that is not this one,
    so it is named by where it lies or came from; only what came from an index is asked for there again."""
    checkout = Path(mmcore.__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return f"mmcore @ {checkout.as_uri()}"
    origin = json.loads(distribution("mmcore").read_text("direct_url.json") or "{}")
    if "vcs_info" in origin:
        return f"mmcore @ {origin['vcs_info']['vcs']}+{origin['url']}@{origin['vcs_info']['commit_id']}"
    return f"mmcore @ {origin['url']}" if "url" in origin else f"mmcore=={mmcore.__version__}"
