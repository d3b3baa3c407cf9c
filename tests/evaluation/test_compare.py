import pytest

from mmcore.evaluation.compare import Row, RunFacts, compare, print_comparison


def facts(name, settings, value, data="aaa"):
    return RunFacts(name, settings, data, {"captioning": {"bleu4": {"value": value, "baseline": 1.0}}})


def test_only_settings_that_differ_are_listed_and_all_scores():
    a = facts("a", {"seed": 1, "model": {"width": 96, "heads": 4}}, 50.0)
    b = facts("b", {"seed": 1, "model": {"width": 128, "heads": 4}}, 52.5, data="bbb")
    assert compare(a, b) == [
        Row("settings", "model.width", 96, 128),
        Row("data", "version", "aaa", "bbb"),
        Row("scores", "captioning.bleu4", 50.0, 52.5),
    ]


def test_what_only_one_run_has_stands_beside_nothing():
    a = facts("a", {"finetune": {"vqa": {"lr": 0.1}}, "tasks": ["vqa"]}, 50.0)
    b = RunFacts("b", {"tasks": ["vqa"], "extra": 2}, "aaa", {"vqa": {"accuracy": {"value": 7.0}}})
    assert compare(a, b) == [
        Row("settings", "finetune.vqa.lr", 0.1, None),
        Row("settings", "extra", None, 2),
        Row("data", "version", "aaa", "aaa"),
        Row("scores", "captioning.bleu4", 50.0, None),
        Row("scores", "vqa.accuracy", None, 7.0),
    ]


@pytest.fixture
def project(toy):
    """The toy project with an experiment `first` and, on the branch, a release of other settings and scores."""
    from mmcore.ledger import Ledger
    from tests.conftest import git

    ledger = Ledger(toy)
    for stage in ("double", "add"):
        ledger.reproduce(stage)
    scores = toy / "artifacts" / "evaluation" / "metrics.json"
    scores.parent.mkdir(parents=True)
    scores.write_text('{"captioning": {"bleu4": {"value": 50.0}}}')
    commit = ledger.save("first", "first")
    assert ledger.experiments() == {"first": commit}
    scores.write_text('{"captioning": {"bleu4": {"value": 48.25}}}')
    (toy / "params.yaml").write_text("more: 2\n")
    git(toy, "add", "-A")
    git(toy, "commit", "--quiet", "-m", "second")
    git(toy, "tag", "toy@v0.1.0")
    return ledger


def test_runs_and_releases_are_printed_side_by_side(project):
    lines = print_comparison(project, "first", "toy@v0.1.0").splitlines()
    assert [line.split() for line in lines[:3]] == [["first", "toy@v0.1.0"], ["settings"], ["more", "1", "2"]]
    assert lines[3] == "data"
    assert len(set(lines[4].split()[1:])) == 1
    assert [line.split() for line in lines[5:]] == [["scores"], ["captioning.bleu4", "50.00", "48.25", "-1.75"]]
    assert print_comparison(project, "first", "first").splitlines()[1] == "settings: no difference"


def test_a_run_that_is_not_recorded_is_named_with_those_that_are(project):
    with pytest.raises(LookupError, match="there is no run 'frist'; the latest: first"):
        print_comparison(project, "frist", "first")
