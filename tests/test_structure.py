"""The shape of the project, held by tests: what the front door costs, what the tree may hold."""

import ast
import json
import re
import subprocess
import sys
from importlib import metadata

from mmcore.workspace import read_yaml
from tests.conftest import ROOT

HEAVY = (
    "torch",
    "pandas",
    "prefect",
    "great_expectations",
    "evidently",
    "bentoml",
    "dvc",
    "transformers",
    "sklearn",
    "pydantic",
)
SOURCES = sorted([*(ROOT / "mmcore").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])


def test_help_loads_none_of_the_heavy_tools():
    script = (
        "import json, sys, mmcore.cli\n"
        "try:\n mmcore.cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert not loaded & set(HEAVY)


def test_a_file_can_be_read_in_one_sitting():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_nothing_is_unpickled_or_evaluated():
    banned = {
        "eval",
        "exec",
        "pickle.load",
        "pickle.loads",
        "torch.load",
        "joblib.load",
        "yaml.load",
        "yaml.unsafe_load",
    }
    calls = {
        (path.name, ast.unparse(node.func))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert {call for call in calls if call[1] in banned} == set()


def test_every_source_file_says_what_it_is_for():
    silent = [str(path.relative_to(ROOT)) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_a_test_file_stands_where_its_source_file_does():
    """`tests/data/test_store.py` tests `mmcore/data/store.py`, `tests/models/test_encoders.py` that whole folder."""
    astray = []
    for test in (ROOT / "tests").rglob("test_*.py"):
        folder, name = ROOT / "mmcore" / test.parent.relative_to(ROOT / "tests"), test.name.removeprefix("test_")
        if name in ("structure.py", "end_to_end.py", "coverage.py", "docs.py"):
            continue
        stem = name.removesuffix(".py")
        if not any((folder / place).exists() for place in (name, f"_{name}", f"__{stem}__.py", stem)):
            astray.append(str(test.relative_to(ROOT)))
    assert astray == []


def test_dvc_plots_loss_and_validation_of_every_training(tmp_path):
    """Cells that are empty are left out: DVC's own templates draw them as 0."""
    for name in ("dvc.yaml", "params.yaml", ".dvc/config", ".dvc/plots/curve.json", ".gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    stages = ["pretrain", *(f"finetune@{task}" for task in read_yaml(ROOT / "params.yaml")["tasks"])]
    for stage in stages:
        (tmp_path / "artifacts" / "logs" / stage).mkdir(parents=True)
        (tmp_path / "artifacts" / "logs" / stage / "curves.csv").write_text("step,loss,validation\n1,5,\n1,,3\n")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    words = [sys.executable, "-m", "dvc", "plots", "show", "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert "errors" not in shown
    assert set(shown["data"]) == {f"{stage}, {column}" for stage in stages for column in ("loss", "validation")}
    for name, (plot,) in shown["data"].items():
        column = name.rpartition(", ")[2]
        assert plot["content"]["transform"] == [{"filter": f"datum['{column}'] !== ''"}]
        cells = [row[column] for row in plot["content"]["data"]["values"]]
        assert cells == (["5", ""] if column == "loss" else ["", "3"])


def test_a_training_stage_depends_on_all_settings_that_shape_it_and_on_no_others():
    """Two ranks compute another model than one; how a model is scored changes nothing in it."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    common = {
        "seed",
        "plugins",
        "prepare",
        "model",
        *(f"train.{name}" for name in ("devices", "nodes", "threads", "precision", "shard")),
    }
    assert set(stages["pretrain"]["params"]) == common | {"pretrain"}
    assert set(stages["finetune"]["do"]["params"]) == common | {"finetune.${item}"}


def test_what_is_tested_is_what_the_lock_file_installs():
    lines = (ROOT / "requirements" / "lock.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    installed = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in metadata.distributions()}
    for name in ("torch", "transformers", "prefect", "dvc", "great-expectations", "evidently", "bentoml"):
        assert name in installed
    other = {
        name: (pin, installed[name])
        for name, pin in pinned.items()
        if name in installed and installed[name].partition("+")[0] != pin.partition("+")[0]
    }
    assert other == {}


def test_links_between_pages_lead_somewhere():
    files = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
    pages = {page.resolve(): without_code(page.read_text(encoding="utf-8")) for page in files}
    headings = {page: {anchor(line) for line in re.findall(r"^#+ (.*)$", text, re.M)} for page, text in pages.items()}
    dead = []
    for page, text in pages.items():
        for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text):
            path, _, part = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (part and part not in headings.get(target, {part})):
                dead.append(f"{page.name}: {link}")
    assert dead == []


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.S)


def anchor(heading: str) -> str:
    """The name under which a heading is linked to: small letters, blanks as hyphens, no other signs."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
