import shutil
from pathlib import Path

import pytest

from mmcore import releases
from mmcore.cli import main
from tests.conftest import ROOT, git


@pytest.fixture
def project(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copyfile(ROOT / "params.yaml", toy / "params.yaml")
    (toy / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(toy)
    return toy


def release(root: Path, value: float) -> None:
    scores = root / "artifacts" / "evaluation" / "metrics.json"
    scores.parent.mkdir(parents=True, exist_ok=True)
    scores.write_text(f'{{"captioning": {{"bleu4": {{"value": {value}}}}}}}')
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "scores")
    releases.register(root, "digitworld", git(root, "rev-parse", "HEAD").strip(), f"hash of {value}")


def test_releases_are_compared_by_the_names_that_the_list_prints(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(project, 50.0)
    release(project, 52.0)
    assert main(["run", "compare", "v0.1.0", "0.2.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["digitworld@v0.1.0", "digitworld@v0.2.0"]
    assert lines[-1].split() == ["captioning.bleu4", "50.00", "52.00", "+2.00"]
    assert main(["run", "compare", "v0.1.0", "v9.0.0"]) == 1
    assert "digitworld has no release 'v9.0.0'; there are: v0.2.0, v0.1.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["evaluate", "--tasks", "x"], ["evaluate", "--output", "x"], ["validate", "--tasks", "x", "--output", "y"]],
)
def test_other_models_are_scored_by_the_stage_evaluate_alone(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["stage", *words]) == 1
    assert "--tasks and --output go together, and with evaluate" in capsys.readouterr().err
