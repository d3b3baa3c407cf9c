from mmcore.report.table import closing_table
from mmcore.workspace import Workspace, read_json, write_json


def test_the_table_has_the_headline_metrics_verdict_and_next_commands(whole):
    text = closing_table(whole, colour=False)
    assert text.splitlines()[1].split() == ["task", "metric", "value", "baseline", "champion"]
    assert text.splitlines()[3].split() == ["Captioning", "BLEU-4", "55.5", "24.8", "54.0"]
    assert "Promote  The candidate passed the promotion gate. It is released as v0.2.0." in text
    assert "mmcore serve" in text
    assert "\x1b" not in text


def test_numbers_stand_below_each_other(whole):
    lines = closing_table(whole, colour=False).splitlines()[2:5]
    assert len({line.index(".") for line in lines}) == 1


def test_colours_come_only_when_asked_for(whole):
    assert "\x1b[" in closing_table(whole, colour=True)


def test_all_metrics_are_shown_where_none_is_named(fresh):
    workspace = fresh()
    write_json(workspace.evaluation / "scores.json", {})
    assert "Text to image, median rank" in closing_table(workspace, colour=False)


def test_square_brackets_of_a_reason_stay_as_they_are(fresh):
    workspace = fresh()
    verdict = read_json(workspace.verdict) | {"verdict": "reject", "reasons": ["[red]x[/red] is [missing]"]}
    write_json(workspace.verdict, verdict)
    text = closing_table(workspace, colour=False)
    assert "- [red]x[/red] is [missing]" in text
    assert "The champion v0.1.0 stays." in " ".join(text.split())


def test_before_the_first_run_it_says_what_to_type(tmp_path):
    assert "mmcore check" in closing_table(Workspace(tmp_path), colour=False)
