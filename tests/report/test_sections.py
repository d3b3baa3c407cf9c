from dataclasses import replace

import pyarrow as pa

from mmcore.report import sections
from mmcore.report.readers import Curves, Metric


def metric(name: str, value: float, **marks) -> Metric:
    whole = {"baseline": None, "champion": None, "count": 5, "signature": "", "references": {}, "slices": {},
             "needed": None, "passed": None} | marks  # fmt: skip
    return Metric("captioning", name, value, **whole)


def test_columns_appear_only_where_something_stands_in_them():
    plain = sections.results([metric("bleu4", 50.0)], [])
    assert (plain["has_champion"], plain["has_gate"], plain["has_marks"], plain["num_columns"]) == (
        False,
        False,
        False,
        4,
    )
    full = sections.results([metric("bleu4", 50.0, champion=49.0, needed=46.0, references={"ceiling": 90.0})], [])
    assert full["num_columns"] == 7


def test_the_gate_is_at_least_or_at_most():
    (table,) = sections.results([metric("bleu4", 50.0, needed=46.0), metric("word_error_rate", 9.0, needed=12.0)], [])[
        "tables"
    ]
    assert [row["needed"] for row in table["rows"]] == ["≥ 46.0", "≤ 12.0"]


def test_a_rank_has_no_bar():
    (table,) = sections.results([metric("bleu4", 50.0), metric("text_to_image_median_rank", 3.0)], [])["tables"]
    assert [bool(row["bar"]) for row in table["rows"]] == [True, False]


def test_the_first_headline_score_of_a_task_is_shown_large():
    shown = sections.results([metric("bleu1", 70.0), metric("bleu4", 50.0)], ["captioning.bleu4", "captioning.bleu1"])
    assert [(tile["label"], tile["value"]) for tile in shown["tiles"]] == [("BLEU-4", "50.0")]


def test_every_task_is_at_a_glance():
    metrics = [replace(metric("accuracy", 50.0), task=f"task_{number}") for number in range(6)]
    assert len(sections.results(metrics, [])["tiles"]) == 6


def test_a_loss_over_decades_is_drawn_logarithmically():
    near = sections.training(Curves("pretrain", {"loss": [(1, 4.0), (2, 2.0)]}, {}, {}))
    far = sections.training(Curves("pretrain", {"loss": [(1, 4.0), (2, 0.02)]}, {}, {}))
    assert near["charts"][0]["title"] == "Training loss"
    assert far["charts"][0]["title"] == "Training loss, logarithmic"


def test_one_of_several_trainings_of_a_task_is_told_from_the_others():
    assert sections.training(Curves("finetune@a", {}, {}, {}))["title"] == "Fine-tuning for a"
    second = sections.training(Curves("finetune@a", {}, {}, {}, member=2, members=3))
    assert second["title"] == "Fine-tuning for a, training 2 of 3"


def test_a_training_says_how_fast_it_was_as_far_as_its_file_does():
    old = {"seconds": [(10, 5.0), (20, 75.0)], "samples_per_second": [(10, 2.0), (20, 300.0), (30, 310.0)]}
    new = {**old, "teraflops": [(10, 0.0921)], "mfu": [(10, 0.416)], "data_wait": [(10, 0.004)],
           "memory_mb": [(10, 900.0), (20, 1240.0)]}  # fmt: skip
    said = ["20 steps in 1 min 15 s", "300 samples a second"]
    assert sections.training(Curves("pretrain", {}, {}, old))["facts"] == said
    more = ["0.0921 teraflops", "42% of what the device can do", "0.4% of the time waited for data", "1.2 GB of memory"]
    assert sections.training(Curves("pretrain", {}, {}, new))["facts"] == [*said, *more]
    assert sections.training(Curves("pretrain", {}, {}, {}))["facts"] == []


def test_constant_empty_and_unknown_numbers_have_no_histogram():
    profile = pa.table(
        {
            "image_brightness": pa.array([0.1, 0.2, None, float("nan")], pa.float64()),
            "image_contrast": pa.array([0.5, 0.5, 0.5, 0.5]),
            "video_motion": pa.array([None, None, None, None], pa.float64()),
            "row": pa.array([1, 2, 3, 4]),
        }
    )
    (one,) = sections.histograms(profile)
    assert (one["title"], one["median"]) == ("Image brightness", "0.15")


def test_every_kind_of_problem_is_among_the_samples():
    rows = [
        {"id": str(k), "verdict": "reject", "problems": ["empty_caption" if k < 40 else "too_small"], "detail": None,
         "split": "train", "thumbnail": None}
        for k in range(41)
    ]  # fmt: skip
    shown = sections.quarantine(pa.Table.from_pylist(rows), None)
    assert shown["sentence"] == "41 samples have a problem: 41 rejected."
    assert shown["samples"][1]["problems"] == ["Too small"]
    assert len(shown["samples"]) == sections.HELD


def test_an_empty_quarantine_is_told_from_a_missing_one():
    empty = pa.table({name: pa.array([], pa.string()) for name in ("id", "verdict", "problems", "detail", "split")})
    assert sections.quarantine(empty, None)["count"] == 0
    assert sections.quarantine(None, None) is None


def test_splits_show_only_verdicts_that_occur():
    shown = sections.data(
        {
            "rows": 3, "accepted": 2, "refused_at_import": 4, "modalities": {"image": {"rows": 3, "accepted": 2}},
            "splits": {"train": {"rows": 3, "ok": 2, "repaired": 0, "flag": 0, "reject": 1}},
        }
    )  # fmt: skip
    assert shown["sentence"] == "2 of 3 samples passed validation; 4 of them had been refused at import."
    assert shown["tables"][0]["columns"] == ["Samples", "OK", "Rejected"]
    assert shown["tables"][0]["rows"] == [{"name": "Train", "counts": [3, 2, 1]}]


def test_scores_by_language_stand_beside_the_whole():
    parts = {"zh": (12.0, 3.0), "und": (9.0, None)}
    (table,) = sections.results([metric("bleu4", 10.5, slices=parts)], [])["tables"]
    assert table["rows"][0]["marks"] == f"zh 12.0 (baseline 3.0), und 9.0 (baseline {sections.DASH})"
