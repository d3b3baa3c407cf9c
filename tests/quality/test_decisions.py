import pytest

from mmcore.quality.decisions import Decision, decide, read_decisions


def test_the_last_decision_on_a_row_counts_and_lines_are_in_order_of_id(tmp_path):
    path = tmp_path / "decisions.jsonl"
    decide(path, [Decision("b", "drop", "1", "blurred"), Decision("a", "release", "2", "")])
    decide(path, [Decision("b", "release", "1", "not that bad")])
    assert path.read_text() == (
        '{"id": "a", "decision": "release", "sha256": "2", "reason": ""}\n'
        '{"id": "b", "decision": "release", "sha256": "1", "reason": "not that bad"}\n'
    )
    assert read_decisions(path)["b"].reason == "not that bad"


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b"])
def test_a_reason_may_hold_what_ends_a_line_elsewhere(tmp_path, sign):
    path = tmp_path / "decisions.jsonl"
    decide(path, [Decision("a", "drop", "1", f"one{sign}other"), Decision("b", "drop", "2", "")])
    assert [one.reason for one in read_decisions(path).values()] == [f"one{sign}other", ""]


def test_without_a_file_nothing_is_decided(tmp_path):
    assert read_decisions(tmp_path / "decisions.jsonl") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is no decision"),
        ('{"id": "a"}', "line 2 is no decision"),
        ('{"id": "a", "decision": "keep", "sha256": "1", "reason": ""}', "line 2: 'keep' is no decision"),
    ],
)
def test_a_line_that_is_no_decision_is_named(tmp_path, line, message):
    path = tmp_path / "decisions.jsonl"
    path.write_text(f'{{"id": "z", "decision": "drop", "sha256": "1", "reason": ""}}\n{line}\n')
    with pytest.raises(ValueError, match=message):
        read_decisions(path)
