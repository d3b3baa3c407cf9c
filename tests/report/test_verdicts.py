import pytest

from mmcore.report.readers import Run, StageRun, Verdict
from mmcore.report.verdicts import banner, next_steps
from mmcore.workspace import Workspace, write_json


def verdict(name: str, champion: str = "v0.1.0") -> Verdict:
    return Verdict(name, ["because"], [], champion, "9c1f")


def run(release: str = "", state: str = "done", step: str = "pretrain", reason: str = "") -> Run:
    return Run("brave-heron", release, "", {}, [StageRun(step, 3.0, state, reason)], ["code", "pretrain"])


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("promote", "good", "It is released as v0.2.0."),
        ("reject", "bad", "The champion v0.1.0 stays."),
        ("no decision", "none", "The champion v0.1.0 stays."),
        ("unchanged", "same", "because"),
        ("waiting", "busy", "a person decides whether it is released. The champion v0.1.0 stays."),
        ("declined", "bad", "a person declined to release it. The champion v0.1.0 stays."),
        ("unanswered", "none", "nobody said that it may be released. The champion v0.1.0 stays."),
    ],
)
def test_every_verdict_has_its_words(tmp_path, name, kind, words):
    found = banner(Workspace(tmp_path), run("v0.2.0"), verdict(name))
    assert (found.kind, found.title) == (kind, name.capitalize())
    assert words in found.sentence


def test_a_release_of_an_earlier_run_is_no_release_of_a_rejected_candidate(tmp_path):
    assert banner(Workspace(tmp_path), run("v0.1.0"), verdict("reject")).release == ""


def test_a_rejected_first_candidate_leaves_no_champion(tmp_path):
    assert "There is no champion yet." in banner(Workspace(tmp_path), None, verdict("reject", "")).sentence


def test_a_failed_step_is_named_with_its_own_words(tmp_path):
    workspace = Workspace(tmp_path)
    write_json(workspace.logs("pretrain") / "status.json", {"state": "failed", "reason": "no space left"})
    found = banner(workspace, run(state="failed"), verdict("promote"))
    assert (found.kind, found.reasons) == ("bad", ["no space left"])
    assert "The step pretrain failed." in found.sentence


def test_a_step_that_failed_outside_the_stages_is_named_without_a_reason(tmp_path):
    assert banner(Workspace(tmp_path), run(state="failed"), None).reasons == []


def test_a_step_around_the_stages_has_its_own_words_and_is_not_opened_in_the_debugger(tmp_path):
    failed = run(state="failed", step="smoke_test", reason="the Bento fails\nask again")
    assert banner(Workspace(tmp_path), failed, None).reasons == ["the Bento fails", "ask again"]
    assert [step.command for step in next_steps(failed, None)] == ["mmcore run"]


def test_what_to_type_depends_on_what_happened():
    assert next_steps(None, None)[0].command == "mmcore check"
    assert next_steps(run(), verdict("promote"))[0].command == "mmcore serve"
    assert next_steps(run(), verdict("reject"))[0].command.startswith("mmcore run --set")
    assert next_steps(run(), verdict("waiting"))[0].command == "mmcore run approve"
    assert next_steps(run(), verdict("unanswered"))[0].command == "mmcore run"
    assert next_steps(run(), verdict("declined"))[0].command.startswith("mmcore run --set")
    assert next_steps(run(state="failed"), None)[0].command == "mmcore run debug brave-heron pretrain"
