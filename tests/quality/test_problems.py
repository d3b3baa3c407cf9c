from pathlib import Path

from mmcore.quality.problems import PROBLEMS, VERDICTS, verdict_of

DOCS = Path(__file__).parents[2] / "docs" / "validation.md"


def test_the_gravest_problem_gives_the_verdict():
    assert verdict_of([]) == "ok"
    assert verdict_of(["flattened_alpha"]) == "repaired"
    assert verdict_of(["flattened_alpha", "duplicate_within_split"]) == "flag"
    assert verdict_of(["too_long_text", "undecodable_image", "flattened_alpha"]) == "reject"


def test_a_code_of_somebody_elses_rejects():
    assert verdict_of(["too_long_text", "no_such_code"]) == "reject"


def test_every_problem_leads_to_a_verdict_and_is_documented():
    text = DOCS.read_text()
    for code, problem in PROBLEMS.items():
        assert problem.verdict in VERDICTS[1:]
        assert f"`{code}`" in text, code
