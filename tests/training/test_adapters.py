import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcore.models.multimodal import MultimodalModel
from mmcore.training import fit
from mmcore.training.adapters import ADAPTERS, LowRank
from mmcore.training.finetune import finetune
from mmcore.training.fit import Interrupted
from tests.tiny import model, optim, picture, write_prepared
from tests.training.test_pretrain import TASKS, settings

LORA = {"name": "lora", "rank": 2, "scale": 4.0}
BOTTLENECK = {"name": "bottleneck", "size": 3, "among": ["image", "text"]}
QUESTIONS = {
    "name": "questions", "of": "image", "most": 4,
    "head": {"name": "classes", "fusion": {"name": "cross_attention", "layers": 1}},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_prepared(root / "prepared")
    (root / "pretrained").mkdir()
    model().save(root / "pretrained")
    return root


def learned(world: Path, output: Path, task: dict[str, Any], adapter: dict[str, Any], **changes: Any) -> Path:
    whole = settings()
    own = dataclasses.replace(
        whole.finetune["captioning"], task=task, adapter=adapter, optim=optim(steps=9, lr=1e-2, **changes)
    )
    output.mkdir(exist_ok=True)
    finetune(
        "own", world / "prepared", world / "pretrained", output, dataclasses.replace(whole, finetune={"own": own}),
        checkpoints=output.parent / f"{output.name}-ck", logs=output.parent / f"{output.name}-logs",
    )  # fmt: skip
    return output


def changes(folder: Path, world: Path) -> dict[str, torch.Tensor]:
    """What each weight that both models have has moved by, of those that have moved."""
    after, before = (MultimodalModel.load(path).state_dict() for path in (folder, world / "pretrained"))
    assert set(before) <= set(after)
    moved = {name: (after[name] - before[name]).double() for name in before}
    return {name: difference for name, difference in moved.items() if difference.any()}


def test_with_heads_alone_the_rest_stays_as_pretraining_left_it(world: Path, tmp_path: Path) -> None:
    folder = learned(world, tmp_path / "out", QUESTIONS, {"name": "heads"})
    assert changes(folder, world) == {}
    fresh = model()
    fresh.add_heads(MultimodalModel.load(folder).head_specs)
    head = MultimodalModel.load(folder).heads["answers_image"].state_dict()
    assert any(
        not torch.equal(head[name], tensor) for name, tensor in fresh.heads["answers_image"].state_dict().items()
    )


def test_a_task_without_a_head_has_nothing_that_heads_could_let_learn(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it has none; choose lora or null"):
        learned(world, tmp_path / "out", TASKS["captioning"], {"name": "heads"})


def test_lora_moves_linear_layers_by_matrices_of_its_rank_and_leaves_a_model_like_any_other(
    world: Path, tmp_path: Path
) -> None:
    folder = learned(world, tmp_path / "out", TASKS["captioning"], LORA)
    moved = changes(folder, world)
    assert moved
    for name, difference in moved.items():
        assert name.endswith(".weight")
        assert difference.ndim == 2
        assert torch.linalg.matrix_rank(difference, rtol=1e-4) <= 2, name
    assert any(name.startswith("decoder.") for name in moved)
    assert any(name.startswith("encoders.image.") for name in moved)
    assert json.loads((folder / "training.json").read_text())["steps"] == 9


def test_lora_begins_with_the_model_as_it_is_and_folds_without_changing_what_it_says() -> None:
    made, like = model(), model()
    values, mask = made.processor.texts(["a red square", "blue"])
    before = made.embed("text", values, mask)
    adapter = ADAPTERS.build(LORA)
    adapter.attach(made, set())
    assert torch.equal(made.embed("text", values, mask), before)
    assert {name for name, one in made.named_parameters() if one.requires_grad} == {
        name for name, _ in made.named_parameters() if name.rpartition(".")[2] in ("down", "up")
    }
    for part in made.modules():
        if isinstance(part, LowRank):
            torch.nn.init.normal_(part.up)
    tuned = made.embed("text", values, mask)
    assert not torch.allclose(tuned, before, atol=1e-2)
    adapter.fold(made)
    assert torch.allclose(made.embed("text", values, mask), tuned, atol=1e-6)
    assert made.state_dict().keys() == like.state_dict().keys()


def test_with_a_bottleneck_it_alone_learns_and_stays_in_the_model(world: Path, tmp_path: Path) -> None:
    folder = learned(world, tmp_path / "out", TASKS["captioning"], BOTTLENECK)
    assert changes(folder, world) == {}
    after = MultimodalModel.load(folder)
    assert after.bottlenecks is not None
    # Captioning looks at pictures.
    assert all(layer[part].weight.any() for layer in after.bottlenecks.up for part in layer)
    values = torch.from_numpy(picture("red", "left"))[None], torch.ones(1, dtype=torch.bool)
    assert not torch.allclose(after.embed("image", *values), model().embed("image", *values), atol=1e-3)


def test_with_a_bottleneck_the_heads_of_the_task_learn_too(world: Path, tmp_path: Path) -> None:
    after = MultimodalModel.load(learned(world, tmp_path / "out", QUESTIONS, BOTTLENECK))
    fresh = model()
    ADAPTERS.build(BOTTLENECK).attach(fresh, set())
    assert {name for name, one in fresh.named_parameters() if one.requires_grad} == {
        name for name, _ in after.named_parameters() if name.startswith("bottlenecks.")
    }
    fresh.add_heads(after.head_specs)
    assert not torch.equal(after.heads["answers_image"].out.weight, fresh.heads["answers_image"].out.weight)


@pytest.mark.parametrize("adapter", [LORA, BOTTLENECK], ids=["lora", "bottleneck"])
def test_an_interrupted_training_with_an_adapter_ends_with_the_same_bits(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: dict[str, Any]
) -> None:
    whole = learned(world, tmp_path / "whole", TASKS["captioning"], adapter)
    taken = fit._State.take

    def stop_at_four(self: Any, *arguments: Any, **options: Any) -> Any:
        if self.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, *arguments, **options)

    monkeypatch.setattr(fit._State, "take", stop_at_four)
    with pytest.raises(Interrupted):
        learned(world, tmp_path / "part", TASKS["captioning"], adapter)
    monkeypatch.undo()
    part = learned(world, tmp_path / "part", TASKS["captioning"], adapter)
    assert (part / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_an_adapter_that_is_none_is_named() -> None:
    with pytest.raises(LookupError, match="no adapter named 'prefix'; choose one of: bottleneck, heads, lora"):
        ADAPTERS.build({"name": "prefix"})
    with pytest.raises(ValueError, match="rank of lora is 0"):
        ADAPTERS.build({**LORA, "rank": 0})
