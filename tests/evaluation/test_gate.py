import json

import pytest

from mmcore.evaluation.gate import Decision, decided, judge, model_hash, read, unanswered, waiting, write
from mmcore.settings import GateSettings
from mmcore.workspace import MODEL_FILES, SKIPPED


def rules(min_over_baseline, max_loss):
    return GateSettings(min_over_baseline, max_loss, ask=False, ask_hours=20.0)


BLEU = rules({"captioning.bleu4": 3.0}, {"captioning.bleu4": 2.0})


def bleu(value, baseline=20.0, n=500):
    return {"captioning": {"bleu4": {"value": value, "baseline": baseline, "n": n, "signature": "s"}}}


def decide(metrics, champion_metrics=None, gate=BLEU, *, same_model=False, champion=None):
    return judge(metrics, champion_metrics, gate, same_model=same_model, candidate="c0ffee", champion=champion)


def test_the_first_candidate_passes_with_exactly_its_margin():
    verdict = decide(bleu(23.0))
    assert verdict.verdict == "promote"
    assert verdict.reasons == [
        "captioning.bleu4 is 23.00: 3.00 above its baseline of 20.00, at least 3.00 above it is needed."
    ]
    (comparison,) = verdict.comparisons
    assert (comparison.needed, comparison.champion, comparison.passed) == (23.0, None, True)
    assert (verdict.candidate, verdict.champion) == ("c0ffee", None)


def test_a_margin_that_is_missed_is_a_reject_with_the_numbers():
    verdict = decide(bleu(22.99))
    assert verdict.verdict == "reject"
    assert verdict.reasons == [
        "captioning.bleu4 is 22.99: 2.99 above its baseline of 20.00, at least 3.00 above it is needed."
    ]
    assert "1.00 below its baseline of 20.00" in decide(bleu(19.0)).reasons[0]


def test_a_later_candidate_may_lose_a_little_and_no_more():
    kept = decide(bleu(48.0), bleu(50.0), champion="v0.1.0")
    assert kept.verdict == "promote"
    assert kept.comparisons[0].needed == 48.0
    assert "2.00 below the champion v0.1.0's 50.00, it may lose at most 2.00" in kept.reasons[0]

    lost = decide(bleu(47.9), bleu(50.0), champion="v0.1.0")
    assert lost.verdict == "reject"
    # The rule that was broken comes first.
    assert lost.reasons[0].startswith("captioning.bleu4 is 47.90: 2.10 below the champion v0.1.0's 50.00")
    assert lost.champion == "v0.1.0"


def test_a_later_candidate_must_still_beat_its_baseline():
    verdict = decide(bleu(21.0), bleu(21.5), champion="v0.1.0")
    assert verdict.verdict == "reject"
    assert verdict.comparisons[0].needed == 23.0


def test_a_better_candidate_is_told_by_how_much():
    assert "5.00 above the champion v0.1.0's 50.00" in decide(bleu(55.0), bleu(50.0), champion="v0.1.0").reasons[0]


def test_one_broken_rule_rejects_and_only_broken_ones_are_reasons():
    gate = rules({"captioning.bleu4": 3.0, "captioning.rougeL": 3.0}, {})
    metrics = {"captioning": {**bleu(40.0)["captioning"], "rougeL": {"value": 51.0, "baseline": 50.0, "n": 500}}}
    verdict = decide(metrics, gate=gate)
    assert verdict.verdict == "reject"
    assert [reason.split()[0] for reason in verdict.reasons] == ["captioning.rougeL"]
    assert [comparison.passed for comparison in verdict.comparisons] == [True, False]


def test_the_champion_again_is_unchanged():
    verdict = decide(bleu(10.0), same_model=True, champion="v0.2.0")
    assert verdict.verdict == "unchanged"
    assert "the champion v0.2.0, byte for byte" in verdict.reasons[0]


def test_a_metric_that_should_be_there_and_is_not_rejects():
    verdict = decide({"captioning": {}})
    assert verdict.verdict == "reject"
    assert verdict.reasons == ["captioning.bleu4 is missing from the candidate's scores, and the gate asks for it."]
    verdict = decide({"retrieval": {}}, bleu(50.0), champion="v0.1.0")
    assert verdict.verdict == "reject"
    assert verdict.reasons[0].endswith("the gate asks for it; the champion v0.1.0 has 50.00.")


def test_metrics_of_tasks_that_are_not_run_are_not_judged_and_this_is_said():
    gate = rules({"captioning.bleu4": 3.0, "summarisation.rougeL": 3.0}, {})
    verdict = decide(bleu(40.0), gate=gate)
    assert verdict.verdict == "promote"
    assert verdict.reasons[-1] == "summarisation.rougeL is not judged: this run has no such task."


def test_a_task_that_the_champion_lacks_is_judged_by_its_baseline():
    verdict = decide(bleu(40.0), {}, champion="v0.1.0")
    assert verdict.verdict == "promote"
    assert verdict.reasons[0].endswith("the champion v0.1.0 has no such number.")


def test_ranks_are_better_when_lower():
    gate = rules({"retrieval.text_to_image_median_rank": 10.0}, {"retrieval.text_to_image_median_rank": 1.0})

    def rank(value):
        return {"retrieval": {"text_to_image_median_rank": {"value": value, "baseline": 250.0, "n": 500}}}

    assert decide(rank(240.0), gate=gate).verdict == "promote"
    assert decide(rank(241.0), gate=gate).verdict == "reject"
    verdict = decide(rank(4.0), rank(2.5), gate, champion="v0.1.0")
    assert verdict.verdict == "reject"
    assert verdict.comparisons[0].needed == 3.5
    assert "1.50 above the champion v0.1.0's 2.50" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("metrics", "champion_metrics", "gate", "champion", "reason"),
    [
        (bleu(40.0), None, BLEU, "v0.1.0", "The champion v0.1.0 was not scored"),
        (bleu(40.0), bleu(40.0, n=400), BLEU, "v0.1.0", "500 samples for the candidate and on 400 for the champion"),
        (bleu(40.0), None, rules({}, {"captioning.bleu4": 1.0}), None, "The gate names no metric"),
    ],
)
def test_what_cannot_be_compared_is_no_decision(metrics, champion_metrics, gate, champion, reason):
    verdict = decide(metrics, champion_metrics, gate, champion=champion)
    assert verdict.verdict == "no decision"
    assert reason in verdict.reasons[0]


def test_rounding_of_sums_decides_nothing():
    gate = rules({"captioning.bleu4": 0.2}, {})
    assert decide(bleu(0.3, baseline=0.1), gate=gate).verdict == "promote"


def test_the_written_verdict_says_it_all(tmp_path):
    write(decide(bleu(47.0), bleu(50.0), champion="v0.1.0"), tmp_path / "verdict.json")
    written = json.loads((tmp_path / "verdict.json").read_text())
    assert list(written) == ["verdict", "reasons", "comparisons", "champion", "candidate", "decision"]
    assert written["comparisons"] == [
        {
            "metric": "captioning.bleu4", "value": 47.0, "baseline": 20.0, "champion": 50.0, "needed": 48.0,
            "passed": False,
        }
    ]  # fmt: skip


def test_a_person_decides_on_what_passed_and_the_record_says_who_why_and_when(tmp_path):
    passed = decide(bleu(55.0), bleu(50.0), champion="v0.1.0")
    no = decided(passed, Decision(False, "Ada", "too few birds.", "2030-01-02T03:04:05+00:00"))
    assert no.verdict == "declined"
    assert no.reasons == ["Declined by Ada at 2030-01-02T03:04:05+00:00: too few birds.", *passed.reasons]
    yes = decided(passed, Decision(True, "Ben", "", "2030-01-02T03:04:05+00:00"))
    assert (yes.verdict, yes.reasons[0]) == ("promote", "Approved by Ben at 2030-01-02T03:04:05+00:00.")
    assert yes.comparisons == no.comparisons == passed.comparisons
    for verdict in (passed, no, yes):
        write(verdict, tmp_path / "verdict.json")
        assert read(tmp_path / "verdict.json") == verdict


def test_while_a_person_is_asked_and_when_nobody_answers_nothing_is_promoted():
    passed = decide(bleu(23.0))
    assert (waiting(passed, "noon").verdict, waiting(passed, "noon").decision) == ("waiting", None)
    assert unanswered(passed, "noon").reasons == ["Nobody answered until noon.", *passed.reasons]
    assert unanswered(passed, "noon").verdict == "unanswered"


@pytest.mark.parametrize("hours", [0.0, -1.0, 24.0])
def test_nobody_is_asked_for_no_time_or_for_longer_than_the_next_run_waits(hours):
    with pytest.raises(ValueError, match=rf"ask_hours is {hours}; choose more than 0 and at most 23"):
        GateSettings({}, {}, ask=True, ask_hours=hours)


def test_the_model_hash_changes_with_every_file_that_makes_the_model(tmp_path):
    for task in ("captioning", "retrieval"):
        (tmp_path / task).mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "training.json"):
            (tmp_path / task / name).write_text(f"{task} {name}")
    before = model_hash(tmp_path, ["retrieval", "captioning"])
    assert before == model_hash(tmp_path, ["captioning", "retrieval"])
    assert before != model_hash(tmp_path, ["captioning"])
    (tmp_path / "retrieval" / "training.json").write_text("other")
    assert before == model_hash(tmp_path, ["captioning", "retrieval"])
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / "retrieval" / name).write_text("other")
        after = model_hash(tmp_path, ["captioning", "retrieval"])
        assert after != before
        before = after


def test_a_task_that_was_skipped_counts_nowhere_and_a_missing_model_is_an_error(tmp_path):
    for task in ("captioning", "retrieval"):
        (tmp_path / task).mkdir()
        for name in MODEL_FILES:
            (tmp_path / task / name).write_text(task)
    before = model_hash(tmp_path, ["captioning", "retrieval"])
    (tmp_path / "sentiment").mkdir()
    with pytest.raises(FileNotFoundError):
        model_hash(tmp_path, ["captioning", "retrieval", "sentiment"])
    (tmp_path / "sentiment" / SKIPPED).write_text('{"reason": "no row has video"}')
    assert model_hash(tmp_path, ["captioning", "retrieval", "sentiment"]) == before
    assert model_hash(tmp_path, ["captioning"]) != before
