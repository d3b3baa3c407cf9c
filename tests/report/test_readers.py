import pytest

from mmcore.report.readers import duration, metric_label, read_curves, read_metrics, read_run, read_verdict
from mmcore.workspace import Workspace, write_json


def test_nothing_is_read_from_an_empty_folder(tmp_path):
    workspace = Workspace(tmp_path)
    assert read_run(workspace) is None
    assert read_verdict(workspace) is None
    assert read_metrics(workspace, None) is None
    assert read_curves(workspace) == []


def test_metrics_stand_beside_baseline_champion_and_gate(whole):
    metrics = {metric.key: metric for metric in read_metrics(whole, read_verdict(whole))}
    bleu = metrics["captioning.bleu4"]
    assert (bleu.value, bleu.baseline, bleu.champion, bleu.needed, bleu.passed) == (55.5, 24.8, 54.0, 27.8, True)
    assert metrics["captioning.bleu1"].champion is None


def test_an_unchanged_candidate_has_the_champions_numbers(fresh):
    workspace = fresh()
    write_json(workspace.verdict, {"verdict": "unchanged", "reasons": [], "champion": "v0.1.0", "candidate": "9c"})
    assert all(metric.champion == metric.value for metric in read_metrics(workspace, read_verdict(workspace)))


def test_numbers_that_are_none_are_left_out(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.evaluation.mkdir(parents=True)
    (workspace.evaluation / "metrics.json").write_text(
        '{"a": {"x": {"value": NaN}, "y": {"value": 3, "baseline": null}}}'
    )
    (metric,) = read_metrics(workspace, None)
    assert (metric.key, metric.value, metric.baseline) == ("a.y", 3.0, None)


def test_curves_part_losses_from_validation_and_the_later_line_counts(tmp_path):
    folder = tmp_path / "artifacts" / "logs" / "finetune@captioning"
    folder.mkdir(parents=True)
    lines = [
        "step,seconds,lr,grad_norm,samples_per_second,caption,validation", "10,1,0.1,2,30,4.0,", "20,2,0.1,2,30,3.5,",
        "20,,,,,,3.6", "20,2,0.1,2,30,3.0,", "30,3,0.1,nan,30,", "40,x",
    ]  # fmt: skip
    (folder / "curves.csv").write_text("\n".join(lines))
    (curves,) = read_curves(Workspace(tmp_path))
    assert curves.stage == "finetune@captioning"
    assert curves.losses == {"caption": [(10, 4.0), (20, 3.0)]}
    assert curves.validation == {"validation": [(20, 3.6)]}
    assert curves.measured["grad_norm"] == [(10, 2), (20, 2)]
    assert "mfu" not in curves.measured


def test_every_training_of_a_task_has_its_curves(fresh):
    workspace = fresh()
    workspace.params.write_text("finetune: {captioning: {members: 3}, retrieval: {members: 1}}\n")
    folder = workspace.logs("finetune@captioning")
    for member in (1, 3):  # the second of three, and one of a time when there were four
        (folder / f"member-{member}").mkdir()
        (folder / f"member-{member}" / "curves.csv").write_bytes((folder / "curves.csv").read_bytes())
    (workspace.logs("finetune@retrieval") / "member-1").mkdir()
    (workspace.logs("finetune@retrieval") / "member-1" / "curves.csv").write_bytes((folder / "curves.csv").read_bytes())
    told = [(curves.stage, curves.member, curves.members) for curves in read_curves(workspace)]
    assert told == [
        ("pretrain", 1, 1), ("finetune@captioning", 1, 3), ("finetune@captioning", 2, 3), ("finetune@retrieval", 1, 1),
        ("finetune@summarisation", 1, 1),
    ]  # fmt: skip


def test_pretraining_comes_first(whole):
    assert [curves.stage for curves in read_curves(whole)] == [
        "pretrain", "finetune@captioning", "finetune@retrieval", "finetune@summarisation"
    ]  # fmt: skip


def test_a_run_costs_what_its_steps_took_but_the_unchanged(whole):
    run = read_run(whole)
    assert run.seconds == pytest.approx(11.2 + 183.0 + 41.0 + 44.5 + 38.2 + 27.9)
    assert run.failed is None


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("text_to_image_recall@1", "Text to image, recall@1"),
        ("image_to_text_median_rank", "Image to text, median rank"),
        ("text_to_image_reranked_recall@1", "Text to image, re-ranked, recall@1"),
        ("bleu4", "BLEU-4"), ("rougeL", "ROUGE-L"), ("word_error_rate", "Word error rate"),
    ],
)  # fmt: skip
def test_metrics_are_written_as_people_write_them(name, label):
    assert metric_label(name) == label


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.44, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (245, "4 min 05 s")),
        *((7400, "2 h 03 min"), (172_799, "47 h 59 min"), (1_036_800, "12 days"), (1e8, "1,157 days")),
    ],
)
def test_durations_are_read_at_a_glance(seconds, text):
    assert duration(seconds) == text
