from dataclasses import replace

import numpy as np
import pytest
import torch

from mmcore.data.batches import Batches
from mmcore.models.multimodal import MultimodalModel
from mmcore.tasks._reranking import RERANKERS, likelihoods, reranked, second_stage
from mmcore.tasks._searching import searches, sides_of
from mmcore.tasks.retrieval import Task
from tests.tasks.test_retrieval import EVALUATE, between
from tests.tiny import MODEL, corpus, model

TEXTS = ["a red square on the left", "blue", "on the right there is green", "a green square on the left"]
PAIRS = np.array([(0, 6), (3, 0), (1, 6), (2, 3), (0, 1), (2, 6)])


def with_head() -> MultimodalModel:
    made = model()
    fusion = {"name": "cross_attention", "layers": 1}
    made.add_heads({"matching_image_text": {"name": "match", "inputs": ["image", "text"], "fusion": fusion}})
    return made.eval()


def by_hand(name: str, made: MultimodalModel, text: str, place: int) -> float:
    """One pair alone."""
    ids, mask = made.processor.texts([text])
    encoded = made.encode(
        "image", torch.from_numpy(corpus().array("image", place))[None], torch.ones(1, dtype=torch.bool)
    )
    if name == "matching":
        return float(made.answer("matching_image_text", {"image": encoded, "text": made.encode("text", ids, mask)}))
    logits = made.write(ids[:, :-1], {"image": encoded})[0].log_softmax(-1)
    return float(sum(logits[place, token] for place, token in enumerate(ids[0, 1:].tolist())))


@pytest.mark.parametrize("name", RERANKERS.names())
@pytest.mark.parametrize("size", [2, 3, 12])
@torch.inference_mode()
def test_the_likelihoods_are_those_of_each_pair_alone_whatever_the_size_of_the_batch(name: str, size: int):
    made, reranker = with_head(), RERANKERS.build({"name": name, "of": ["image"], "places": 2})
    batches = Batches(corpus(scenes=8), made.processor, ("image", "captions"), batch_size=size, shuffle=False)
    found = likelihoods(reranker, made, batches, "image", TEXTS, PAIRS)
    wanted = [by_hand(name, made, TEXTS[text], place) for text, place in PAIRS.tolist()]
    assert found == pytest.approx(wanted, abs=1e-4)


def test_ties_count_against_and_what_was_not_among_the_best_keeps_its_rank():
    ranks, top = np.array([3, 1, 7, 2]), np.array([[4, 5, 6], [0, 1, 2], [0, 1, 2], [8, 9, 3]])
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 5.0, 0.0], [1.0, 2.0, 3.0], [2.0, 2.0, 1.0]])
    right = [np.array([6]), np.array([0]), np.array([5]), np.array([9, 3])]
    assert reranked(ranks, top, scores, right).tolist() == [1, 2, 7, 2]


@pytest.mark.parametrize("name", RERANKERS.names())
def test_recall_stands_for_both_stages_and_the_first_is_what_it_was(name: str):
    made, rows = with_head(), corpus(scenes=12)
    made.logit_scale.data.zero_()  # an untrained second stage would not be heard beside the first
    plain = Task([between("image", "text")], [], None)
    task = replace(plain, rerank={"name": name, "of": ["image"], "places": 4})
    one, both = (each.predict(made, rows, batch_size=5, device=torch.device("cpu")) for each in (plain, task))
    assert both.table.drop_columns("reranked").equals(one.table.drop_columns("reranked"))
    assert one.table["reranked"].null_count == 24
    found = both.table.to_pylist()
    assert all(row["reranked"] <= 4 if row["rank"] <= 4 else row["reranked"] == row["rank"] for row in found)
    assert [row["reranked"] for row in found] != [row["rank"] for row in found]
    scores = task.score(both, rows, settings=EVALUATE, seed=1)
    assert "|reranked:" + name + ":4|" in scores["text_to_image_reranked_recall@1"].signature
    share = 100 * np.mean([row["reranked"] <= 1 for row in found if row["direction"] == "text_to_image"])
    assert scores["text_to_image_reranked_recall@1"].value == pytest.approx(share)
    assert scores["text_to_image_recall@1"].references["ceiling"] > 0
    assert set(plain.score(one, rows, settings=EVALUATE, seed=1)) == {key for key in scores if "reranked" not in key}


def test_a_champion_without_the_part_is_judged_by_the_first_stage_alone():
    task = Task([between("image", "text")], [], {"name": "matching", "of": ["image"], "places": 4})
    found = task.predict(model(), corpus(scenes=6), batch_size=5, device=torch.device("cpu"))
    assert found.table["reranked"].null_count == 12
    assert "text_to_image_recall@1" in task.score(found, corpus(), settings=EVALUATE, seed=1)


@torch.inference_mode()
def test_the_logits_beside_the_likelihood_are_those_of_the_formula_that_was_trained():
    made = with_head()
    made.add_heads({"contrast_image_text": {"name": "pair_bias"}})
    made.heads["contrast_image_text"].scale.data.fill_(np.log(50))
    batches = Batches(corpus(scenes=8), made.processor, ("image", "captions"), batch_size=8, shuffle=False)
    sides = sides_of(made, batches, ["image", "text"])
    one = searches(sides)[0]
    found = second_stage(RERANKERS.build({"name": "matching", "of": ["image"], "places": 8}), made, batches, sides, one)
    wanted = []
    for place, query in enumerate(one.queries.labels):
        cosines = sides["image"].vectors @ one.queries.vectors[place]
        scores = [50 * cosines[other] + by_hand("matching", made, query, other) for other in range(8)]
        wanted.append(1 + sum(score >= scores[place] for score in scores[:place] + scores[place + 1 :]))
    assert found is not None
    assert found.tolist() == wanted
    for parameter in made.heads["matching_image_text"].parameters():
        parameter.fill_(float("nan"))
    with pytest.raises(ValueError, match="second stage is not finite"):
        second_stage(RERANKERS.build({"name": "matching", "of": ["image"], "places": 8}), made, batches, sides, one)


def test_only_what_is_asked_for_is_re_ranked():
    task = Task([between("image", "audio", "text")], [], {"name": "caption", "of": ["image"], "places": 4})
    rows = task.predict(model(), corpus(scenes=6), batch_size=5, device=torch.device("cpu")).table.to_pylist()
    twice = {row["direction"] for row in rows if row["reranked"] is not None}
    assert twice == {"text_to_image", "image_to_text"}
    assert len({row["direction"] for row in rows}) == 6


def test_a_model_that_cannot_re_rank_is_told_before_it_is_trained():
    with pytest.raises(ValueError, match="no decoder; set rerank to null"):
        Task([between("image", "text")], [], {"name": "caption", "of": ["image"], "places": 4}).configure(
            model(settings=replace(MODEL, decoder=None))
        )
    with pytest.raises(ValueError, match=r"no head for image and text; add the objective matching between \[image"):
        Task([between("image", "text")], [], {"name": "matching", "of": ["image"], "places": 4}).configure(model())
    with pytest.raises(ValueError, match="re-ranks the first 1; choose 2 places"):
        Task([between("image", "text")], [], {"name": "caption", "of": ["image"], "places": 1})
    with pytest.raises(ValueError, match="choose among: image"):
        Task(
            [between("image", "text"), between("audio", "video")], [], {"name": "caption", "of": ["audio"], "places": 4}
        )
    with pytest.raises(LookupError, match="no reranker named 'votes'; choose one of: caption, matching"):
        Task([between("image", "text")], [], {"name": "votes", "of": ["image"], "places": 3})
