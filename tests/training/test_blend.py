import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mmcore.data.corpus import Corpus
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.tasks import TASKS
from mmcore.training import fit
from mmcore.training.finetune import finetune
from mmcore.training.pretrain import pretrain
from tests.tiny import OBJECTIVES, corpus, model, optim, write_prepared
from tests.training.test_adapters import LORA, QUESTIONS
from tests.training.test_pretrain import settings

SHARE = 0.3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared rows and a model to start from, which has a head for questions."""
    root = tmp_path_factory.mktemp("world")
    write_prepared(root / "prepared")
    (root / "start").mkdir()
    start = model()
    start.add_heads(TASKS.build(QUESTIONS).heads(corpus()))
    start.save(root / "start")
    return root


def tuned(world: Path, output: Path, *, task: dict[str, Any], adapter: Any = None, start: Path | None = None,
          **changes: Any) -> Path:  # fmt: skip
    whole = settings()
    own = dataclasses.replace(whole.finetune["captioning"], task=task, adapter=adapter, optim=optim(lr=1e-2, **changes))
    output.mkdir(parents=True, exist_ok=True)
    finetune(
        "own", world / "prepared", start or world / "start", output,
        dataclasses.replace(whole, finetune={"own": own}),
        checkpoints=output.parent / f"{output.name}-ck", logs=output.parent / f"{output.name}-logs",
    )  # fmt: skip
    return output


def weights(folder: Path) -> dict[str, Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def training(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "training.json").read_text()))


CAPTIONING = {"name": "captioning", "of": "image", "choice": "consensus", "smoothing": 0.0, "beams": 1}


@pytest.mark.parametrize("adapter", [None, LORA], ids=["all", "lora"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_the_weights_lie_between_those_of_the_start_and_those_learned(
    world: Path, tmp_path: Path, adapter: Any, ema: float | None
) -> None:
    options = {"task": CAPTIONING, "adapter": adapter, "ema": ema}
    learned = weights(tuned(world, tmp_path / "learned", **options))
    blended = weights(tuned(world, tmp_path / "blended", start_share=SHARE, **options))
    start, moved = weights(world / "start"), 0
    assert blended.keys() == learned.keys() == start.keys()
    for name, value in blended.items():
        expected = SHARE * start[name].double() + (1 - SHARE) * learned[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-8, msg=name)
        if torch.equal(start[name], learned[name]):
            assert torch.equal(value, start[name])
        else:
            moved += 1
    assert moved > 10


def test_the_validation_is_that_of_the_weights_that_are_saved(world: Path, tmp_path: Path) -> None:
    learned = training(tuned(world, tmp_path / "learned", task=CAPTIONING))
    told = training(tuned(world, tmp_path / "blended", task=CAPTIONING, start_share=SHARE))
    made = MultimodalModel.load(tmp_path / "blended")
    found = TASKS.build(CAPTIONING).validate(made, Corpus(world / "prepared", "validation"), batch_size=6)
    assert told["validation"] == pytest.approx(found, rel=1e-5)
    assert told["validation"] != pytest.approx(learned["validation"], rel=1e-5)
    assert told["notes"] == [
        "start_share: the weights are 0.3 of those before the training and 0.7 of those learned, whose validation was "
        f"loss {learned['validation']['loss']:.4g}"
    ]
    assert learned["notes"] == []


def test_heads_that_the_start_lacks_or_has_otherwise_stay_as_they_were_learned(world: Path, tmp_path: Path) -> None:
    head = "heads.answers_image."
    bare, other = tmp_path / "bare", tmp_path / "other"
    for folder in (bare, other):
        folder.mkdir()
    model().save(bare)
    # As large as the task's, with its answers in another order.
    made = MultimodalModel.load(world / "start")
    made.head_specs["answers_image"]["classes"].reverse()
    made.save(other)
    for name, start in (("none", bare), ("other", other), ("same", world / "start")):
        learned, blended = (
            weights(tuned(world, tmp_path / f"{name}-{share}", task=QUESTIONS, start=start, start_share=share))
            for share in (0.0, SHARE)
        )
        own = [key for key in learned if key.startswith(head)]
        assert own
        same = all(torch.equal(learned[key], blended[key]) for key in own)
        assert same == (name != "same"), name


def test_a_stopped_training_ends_with_the_same_bits(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuned(world, tmp_path / "whole", task=CAPTIONING, adapter=LORA, start_share=SHARE)
    taken = fit._State.take

    def stop_at_four(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.step == 4:
            raise KeyboardInterrupt
        return taken(self, *arguments, **options)

    monkeypatch.setattr(fit._State, "take", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        tuned(world, tmp_path / "part", task=CAPTIONING, adapter=LORA, start_share=SHARE)
    monkeypatch.undo()
    part = tuned(world, tmp_path / "part", task=CAPTIONING, adapter=LORA, start_share=SHARE)
    for name in ("model.safetensors", "training.json"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


def pretrained(world: Path, output: Path, init: str, start: Path | None, share: float) -> Path:
    whole = settings()
    own = dataclasses.replace(whole.pretrain, init=init, optim=optim(start_share=share))
    output.mkdir()
    pretrain(
        world / "prepared", output, dataclasses.replace(whole, pretrain=own), start=start,
        checkpoints=output.parent / f"{output.name}-ck", logs=output.parent / f"{output.name}-logs",
    )  # fmt: skip
    return output


def test_a_pretraining_that_goes_on_from_a_model_is_blended_with_it(world: Path, tmp_path: Path) -> None:
    start = world / "start"
    learned = weights(pretrained(world, tmp_path / "learned", "start", start, 0.0))
    blended = pretrained(world, tmp_path / "blended", "start", start, SHARE)
    before = weights(start)
    for name, value in weights(blended).items():
        expected = SHARE * before[name].double() + (1 - SHARE) * learned[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-8, msg=name)
    found = Mixture(OBJECTIVES, corpus()).validate(
        MultimodalModel.load(blended), Corpus(world / "prepared", "validation"), batch_size=6
    )
    assert training(blended)["validation"] == pytest.approx(found, rel=1e-5)


def test_without_a_champion_yet_there_is_nothing_to_go_back_to(world: Path, tmp_path: Path) -> None:
    first = pretrained(world, tmp_path / "first", "champion", None, SHARE)
    plain = pretrained(world, tmp_path / "plain", "scratch", None, 0.0)
    assert (first / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()
    assert training(first)["notes"][-1].startswith("start_share: there is no champion yet")


@pytest.mark.parametrize(("init", "share", "said"), [
    ("champion", 1.0, r"pretrain\.optim\.start_share is 1\.0; set it from 0 .* to below 1"),
    ("champion", -0.1, r"pretrain\.optim\.start_share is -0\.1; set it"),
    ("scratch", 0.5, r"random weights are nothing to go back to; set it to 0, or pretrain\.init to a model"),
])  # fmt: skip
def test_a_share_that_means_nothing_is_refused(world: Path, tmp_path: Path, init: str, share: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pretrained(world, tmp_path / "out", init, None, share)
