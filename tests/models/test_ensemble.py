from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcore.models.ensemble import Ensemble
from mmcore.models.multimodal import MultimodalModel
from mmcore.tasks import TASKS
from tests.tiny import MODEL, corpus, model, picture
from tests.training.test_adapters import QUESTIONS
from tests.training.test_pretrain import TASKS as SPECS

HEAD = "answers_image"


def member(seed: int) -> MultimodalModel:
    made = model(seed=seed)
    made.add_heads(TASKS.build(QUESTIONS).heads(corpus()))
    return made


def inputs(made: Any) -> dict[str, tuple[Tensor, Tensor]]:
    pictures = torch.stack([torch.from_numpy(picture(colour, "left")) for colour in ("red", "green", "blue")])
    return {
        "question": made.processor.texts(["which colour is it?", "is it on the left?", "which colour is it?"]),
        "image": (pictures, torch.tensor([True, True, False])),
    }


def encoded(made: Any) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: made.encode(name, *pair) for name, pair in inputs(made).items()}


def test_the_cosine_of_two_embeddings_is_the_mean_of_the_members() -> None:
    members = [member(seed) for seed in (1, 2, 3)]
    whole = Ensemble(members)
    of = {name: [one.embed(name, *inputs(one)[name]) for one in members] for name in ("question", "image")}
    found = {name: whole.embed(name, *inputs(whole)[name]) for name in of}
    assert found["image"].shape == (3, 3 * MODEL.embed_dim)
    expected = sum(text @ seen.T for text, seen in zip(of["question"], of["image"], strict=True)) / 3
    torch.testing.assert_close(found["question"] @ found["image"].T, expected)
    torch.testing.assert_close(found["image"].norm(dim=1), torch.tensor([1.0, 1.0, 0.0]))


def test_probabilities_are_the_mean_of_the_members_and_disagreement_is_what_their_mean_knows_less() -> None:
    members = [member(seed) for seed in (1, 2, 3)]
    whole = Ensemble(members)
    shares = torch.stack([one.answer(HEAD, encoded(one)).softmax(-1) for one in members]).detach()
    torch.testing.assert_close(whole.answer(HEAD, encoded(whole)).exp(), shares.mean(0))
    # The mean Kullback-Leibler divergence from the mean, written with loops.
    by_hand = [
        sum(float(p * torch.log(p / q)) for one in shares for p, q in zip(one[row], shares.mean(0)[row], strict=True))
        / 3
        for row in range(3)
    ]
    assert np.allclose(whole.disagreement(HEAD, encoded(whole)).detach(), by_hand, atol=1e-6)
    assert min(by_hand) > 1e-3
    same = Ensemble([members[0], members[0]])
    assert torch.allclose(same.disagreement(HEAD, encoded(same)), torch.zeros(3), atol=1e-6)


def test_sure_members_that_contradict_each_other_disagree_by_the_logarithm_of_their_number() -> None:
    members = [member(seed) for seed in (1, 2)]
    for place, one in enumerate(members):
        head: Any = one.heads[HEAD]
        torch.nn.init.zeros_(head.out.weight)
        with torch.no_grad():
            head.out.bias.copy_(200.0 * torch.eye(len(head.out.bias))[place])
    whole = Ensemble(members)
    assert torch.allclose(whole.disagreement(HEAD, encoded(whole)), torch.tensor(2.0).log())
    assert whole.answer(HEAD, encoded(whole)).isfinite().all()


@pytest.mark.parametrize("spec", [QUESTIONS, {**SPECS["retrieval"], "rerank": None}], ids=["questions", "retrieval"])
def test_tasks_predict_with_an_ensemble_of_saved_models_as_with_one(tmp_path: Path, spec: dict[str, Any]) -> None:
    task = TASKS.build(spec)
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        member(seed).save(tmp_path / str(seed))
    once, twice, both = (Ensemble.load([tmp_path / name for name in names]) for names in ("11", "22", "12"))
    alone = MultimodalModel.load(tmp_path / "1")

    def said(made: Any) -> list[float]:
        found = task.predict(made, corpus(), batch_size=5, device=torch.device("cpu"))
        return list(found.table["score"].to_pylist())

    assert np.allclose(said(once), said(alone), atol=1e-5)
    assert not np.allclose(said(both), said(once), atol=1e-3)
    assert not np.allclose(said(both), said(twice), atol=1e-3)


def test_members_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="needs two members or more, not 1"):
        Ensemble([member(1)])
    with pytest.raises(ValueError, match="member 2 of the ensemble has other heads than the first one"):
        Ensemble([member(1), model()])
    narrow = model(settings=type(MODEL)(**{**vars(MODEL), "embed_dim": 4}))
    with pytest.raises(ValueError, match="member 3 of the ensemble has other model settings"):
        Ensemble([model(), model(seed=1), narrow])
