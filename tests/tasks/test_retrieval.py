from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch

from mmcore.data.batches import NO_AUGMENTATION
from mmcore.metrics import Score
from mmcore.settings import EvaluateSettings
from mmcore.tasks import SCHEMA, TASKS, Predictions
from mmcore.tasks._searching import Side, ranks, searches
from mmcore.tasks.retrieval import Task
from tests.tiny import TinyCorpus, corpus, fitted, model, scene

EVALUATE = EvaluateSettings(
    batch_size=5, derangements=3, bleu_tokenize="13a", bleu_lowercase=True, rouge_tokenize="words", headline=[]
)


def between(*among: str) -> dict[str, object]:
    return {"among": list(among), "formula": "clip", "weight": 1.0, "every": 1, "batch_size": None}


IMAGES, VIDEOS = Task([between("image", "text")], [], None), Task([between("video", "text")], [], None)
ALL = Task([between("image", "audio", "text"), between("video", "text")], [], None)


@pytest.fixture(scope="module")
def predicted() -> Predictions:
    return IMAGES.predict(model(), corpus(scenes=12), batch_size=5, device=torch.device("cpu"))


def test_the_folder_is_the_registry():
    assert TASKS.names() == [
        "anomalies", "captioning", "classification", "matching", "questions", "retrieval", "summarisation",
        "transcription", "zero_shot",
    ]  # fmt: skip
    with pytest.raises(LookupError, match="needs the option 'contrasts'"):
        TASKS.build({"name": "retrieval"})


def test_every_row_asks_once_in_each_direction(predicted):
    table = predicted.table
    assert table.schema == SCHEMA
    assert table["direction"].to_pylist() == ["text_to_image"] * 12 + ["image_to_text"] * 12
    assert table["query"].to_pylist()[0] == "a red square on the left"
    assert table["references"].to_pylist()[0] == ["scene-0"]
    assert table["references"].to_pylist()[12] == ["a red square on the left", "on the left there is red"]
    assert predicted.embeddings["image"].shape == (12, 8)
    assert len(predicted.ids["text"]) == len(predicted.embeddings["text"]) == 24


def test_ranks_follow_from_the_embeddings(predicted):
    scores = predicted.embeddings["text"][::2].astype(np.float64) @ predicted.embeddings["image"].T
    for place, row in enumerate(predicted.table.to_pylist()[:12]):
        own = scores[place].astype(np.float32)
        assert row["rank"] == 1 + sum(own[i] >= own[place] for i in range(12) if i != place)
        assert row["top"][0] == row["prediction"] == f"scene-{int(own.argmax())}"
        assert len(row["top"]) == len(row["top_scores"]) == 10
        assert row["score"] == row["top_scores"][0]


def test_scores_stand_beside_chance_and_further_marks(predicted):
    scores = IMAGES.score(predicted, corpus(), settings=EVALUATE, seed=1)
    assert len(scores) == 8
    assert isinstance(scores["text_to_image_recall@1"], Score)
    assert scores["text_to_image_recall@1"].baseline == pytest.approx(100 / 12)
    # 24 captions, 2 of them right: 1 - C(22, 5) / C(24, 5).
    assert scores["image_to_text_recall@5"].baseline == pytest.approx(100 * (1 - 19 * 18 / (24 * 23)))
    # Six different captions, each of two pictures: one of each two can be first.
    assert scores["text_to_image_recall@1"].references["ceiling"] == 50.0


def test_clips_can_be_retrieved_too():
    found = VIDEOS.predict(model(), corpus(), batch_size=5, device=torch.device("cpu"))
    scores = VIDEOS.score(found, corpus(), settings=EVALUATE, seed=1)
    assert set(scores) >= {"text_to_video_recall@1", "video_to_text_recall@10"}
    assert found.table["query"].to_pylist()[0] == "the red square goes left"


def test_validation_scores_both_directions():
    numbers = IMAGES.validate(model(), corpus(scenes=6, clips=0), batch_size=4)
    assert set(numbers) == {"text_to_image_recall@10", "image_to_text_recall@10", "mean_reciprocal_rank"}
    assert 0 < numbers["mean_reciprocal_rank"] <= 100


def test_ranks_alone_are_those_of_what_is_found():
    random = np.random.default_rng(0)
    rows = [f"row-{number}" for number in range(40)]
    keys = [f"key-{number // 2}" for number in range(40)]  # two rows of each fit each other
    sides = {
        name: Side(rows, rows, rows, [], keys, random.normal(size=(40, 8)).astype("f4")) for name in ("image", "audio")
    }
    # Every row says something in English, every third in Chinese too, in two ways.
    said = [(row, "en") for row in range(40)] + [(row, "zh") for row in range(0, 40, 3) for _ in range(2)]
    texts = [f"text {number}" for number in range(len(said))]
    owners, owned = ([column[row] for row, _ in said] for column in (rows, keys))
    vectors = random.normal(size=(len(said), 8)).astype("f4")
    sides["text"] = Side(texts, owners, texts, [lang for _, lang in said], owned, vectors)
    wanted: dict[str, list[int]] = {}
    for one in searches(sides):
        wanted.setdefault(one.direction, []).extend(one.ranking.ranks.tolist())
    assert {direction: found.tolist() for direction, found in ranks(sides).items()} == wanted


def test_every_two_modalities_of_a_contrast_find_each_other():
    found = ALL.predict(model(), corpus(scenes=6, clips=4), batch_size=5, device=torch.device("cpu"))
    asked = Counter(found.table["direction"].to_pylist())
    scenes = {f"{one}_to_{other}": 6 for one, other in permutations(["image", "audio", "text"], 2)}
    assert asked == {**scenes, "video_to_text": 4, "text_to_video": 4}
    assert len(found.ids["text"]) == len(found.embeddings["text"]) == 12 + 8
    speech = [row for row in found.table.to_pylist() if row["direction"] == "audio_to_image"]
    assert [row["references"] for row in speech] == [[f"scene-{number}"] for number in range(6)]
    assert ALL.terms == ["contrast_image_audio", "contrast_image_text", "contrast_audio_text", "contrast_video_text"]


def test_modalities_that_were_never_brought_together_find_each_other_by_a_third(tmp_path):
    """Recordings tell a colour, pictures show it; each has been close to captions alone."""
    rows = TinyCorpus([{**scene(number), "positives": COLOUR[number % 3]} for number in range(24)])
    learner = Task([between("image", "text"), between("audio", "text")], [["audio", "image"]], None)
    assert learner.terms == ["contrast_image_text", "contrast_audio_text"]
    made = model()
    fitted(learner, made, rows, tmp_path, steps=60, validate_every=60)
    found = learner.predict(made, rows, batch_size=8, device=torch.device("cpu"))
    recall = learner.score(found, rows, settings=EVALUATE, seed=1)["audio_to_image_recall@1"]
    assert recall.baseline == pytest.approx(100 / 3)
    assert recall.value > 90
    assert "audio_to_image_recall@10" not in learner.validate(made, rows, batch_size=8)


@pytest.mark.parametrize(("also", "said"), [([["image", "text"]], "in one only"), ([["audio"]], "name two or more")])
def test_what_is_scored_beside_is_of_two_and_not_among_the_contrasts(also, said):
    with pytest.raises(ValueError, match=said):
        Task([between("image", "text")], also, None)


def test_a_contrast_without_rows_is_left_out():
    learner = Task([between("image", "text"), between("video", "text")], [], None)
    rows = corpus(scenes=6, clips=0)
    batch = learner.batches(rows, model().processor, batch_size=4, seed=0, augment=NO_AUGMENTATION).at(0)
    assert list(learner.loss(model(), batch)) == ["contrast_image_text"]
    assert "video_to_text_recall@10" not in learner.validate(model(), rows, batch_size=4)


def test_a_contrast_brings_the_heads_of_its_formula():
    learner, made, rows = (
        Task([{**between("image", "text"), "formula": "siglip"}], [], None),
        model(),
        corpus(scenes=6, clips=0),
    )
    made.add_heads(learner.heads(rows))
    batch = learner.batches(rows, made.processor, batch_size=4, seed=0, augment=NO_AUGMENTATION).at(0)
    learner.loss(made, batch)["contrast_image_text"].backward()
    assert made.heads["contrast_image_text"].bias.grad != 0
    assert IMAGES.heads(rows) == {}
    with pytest.raises(ValueError, match="'cosine'; choose one of"):
        Task([{**between("image", "text"), "formula": "cosine"}], [], None)


def test_two_modalities_stand_in_one_contrast_only():
    with pytest.raises(ValueError, match="in one only"):
        Task([between("image", "text", "audio"), between("text", "image")], [], None)


COLOUR = ["red", "green", "blue"]
ZH = {"red": "红色", "green": "绿色", "blue": "蓝色"}


def two_languages() -> TinyCorpus:
    """Twelve scenes with two English captions; the first eight also have one in Chinese."""
    rows = [scene(number) for number in range(12)]
    for number, row in enumerate(rows[:8]):
        row["captions"].append({"text": f"{list(ZH.values())[number % 3]}的方块{number}", "lang": "zh-Hans"})
    return TinyCorpus(rows)


@pytest.fixture(scope="module")
def bilingual() -> Predictions:
    return IMAGES.predict(model(), two_languages(), batch_size=5, device=torch.device("cpu"))


def test_each_language_asks_and_answers_for_itself(bilingual):
    rows = bilingual.table.to_pylist()
    counts = {}
    for row in rows:
        counts[row["direction"], row["lang"]] = counts.get((row["direction"], row["lang"]), 0) + 1
    assert counts == {
        ("text_to_image", "en"): 12, ("text_to_image", "zh"): 8, ("image_to_text", "en"): 12,
        ("image_to_text", "zh"): 8, ("en_to_zh", None): 8, ("zh_to_en", None): 8,
    }  # fmt: skip
    assert len({row["id"] for row in rows}) == len(rows)
    chinese = next(row for row in rows if row["direction"] == "text_to_image" and row["lang"] == "zh")
    assert (chinese["query"], chinese["query_id"], chinese["references"]) == ("红色的方块0", "scene-0#2", ["scene-0"])
    assert (chinese["candidates"], len(chinese["top"])) == (12, 10)
    back = next(row for row in rows if row["direction"] == "image_to_text" and row["lang"] == "zh")
    assert (back["references"], back["candidates"]) == (["红色的方块0"], 8)


def test_scores_stand_for_all_queries_and_per_language(bilingual):
    scores = IMAGES.score(bilingual, corpus(), settings=EVALUATE, seed=1)
    whole = scores["text_to_image_recall@1"]
    assert (whole.n, {lang: part.n for lang, part in whole.slices.items()}) == (20, {"en": 12, "zh": 8})
    assert whole.value == pytest.approx((12 * whole.slices["en"].value + 8 * whole.slices["zh"].value) / 20)
    back = scores["image_to_text_recall@1"].slices
    # English: 24 captions, two of them right; Chinese: eight, one of them right.
    assert (back["en"].baseline, back["zh"].baseline) == (pytest.approx(100 * 2 / 24), pytest.approx(100 / 8))


def test_captions_of_two_languages_find_each_other(bilingual):
    scores = IMAGES.score(bilingual, corpus(), settings=EVALUATE, seed=1)
    forth, back = scores["en_to_zh_recall@1"], scores["zh_to_en_recall@1"]
    assert (forth.n, forth.baseline, forth.slices) == (8, pytest.approx(100 / 8), {})
    assert (back.n, back.baseline) == (8, pytest.approx(100 * 2 / 24))


def test_one_language_has_neither_slices_nor_a_partner(predicted):
    scores = IMAGES.score(predicted, corpus(), settings=EVALUATE, seed=1)
    assert {name.partition("_recall")[0].partition("_median")[0] for name in scores} == {
        "text_to_image", "image_to_text"
    }  # fmt: skip
    assert all(score.slices == {} for score in scores.values())


def test_rows_with_equal_positives_are_hits_of_each_other():
    rows = [{**scene(number), "positives": f"product-{number // 2}"} for number in range(8)]
    found = IMAGES.predict(model(), TinyCorpus(rows), batch_size=5, device=torch.device("cpu"))
    table = found.table.to_pylist()
    assert table[0]["references"] == table[1]["references"] == ["scene-0", "scene-1"]
    order = table[0]["top"]
    # The better of the two is the hit; the other one stands in nobody's way.
    assert table[0]["rank"] == 1 + min(order.index("scene-0"), order.index("scene-1"))
    scores = IMAGES.score(found, corpus(), settings=EVALUATE, seed=1)
    assert scores["text_to_image_recall@1"].baseline == pytest.approx(100 * 2 / 8)


def test_a_caption_that_is_there_twice_asks_in_its_first_place_and_once_in_each_language():
    row = {**scene(0), "captions": [{"text": text, "lang": lang} for text, lang in (
        ("blue", "en"), ("red", "en"), ("blue", "en"), ("red", "de")
    )]}  # fmt: skip
    found = IMAGES.predict(model(), TinyCorpus([row, scene(1)]), batch_size=5, device=torch.device("cpu"))
    assert found.table["query"].to_pylist()[:2] == ["blue", "a green square on the left"]
    assert found.ids["text"][:3] == ["scene-0#0", "scene-0#1", "scene-0#3"]
