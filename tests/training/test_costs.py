from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcore import params
from mmcore.data.batches import columns_of
from mmcore.data.modalities import media
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives import OBJECTIVES
from mmcore.settings import Settings
from mmcore.tasks import TASKS
from mmcore.training.costs import costs
from mmcore.training.optim import Optimiser, Weights
from mmcore.training.sharding import layers_of
from tests.conftest import ROOT
from tests.tiny import MODEL, PREPARE, alone

CONTRAST = alone(name="contrast", among=["image", "text"], formula="clip")


def settings(**optim: Any) -> Settings:
    made = params.load(ROOT / "params.yaml")
    model = replace(MODEL, encoders={name: MODEL.encoders[name] for name in ("text", "image")}, decoder=None)
    optim = {"batch_size": 32, "chunk": None, **optim}
    pretrain = replace(made.pretrain, objectives=[CONTRAST], optim=replace(made.pretrain.optim, **optim))
    train = replace(made.train, device="cpu", precision="fp32", threads=torch.get_num_threads())
    return replace(made, prepare=PREPARE, model=model, pretrain=pretrain, train=train)


def test_parameters_are_those_of_the_model_and_learning_takes_so_many_bytes_each() -> None:
    own = settings(algorithm="adamw")
    model = MultimodalModel(own.model, Processor.made_up(PREPARE))
    found = costs(own)
    assert sum(found.parameters.values()) == sum(one.numel() for one in model.parameters())
    assert found.parameters["encoders.text"] == sum(one.numel() for one in model.encoders["text"].parameters())
    assert found.learning == 20 * sum(found.parameters.values())
    turning = Optimiser(Weights(model, "fp32"), replace(own.pretrain.optim, algorithm="muon"), {}).turning
    matrices = sum(dict(model.named_parameters())[name].numel() for name in turning)
    assert costs(settings(algorithm="muon")).learning == found.learning - 4 * matrices
    assert found.seconds > 0


def test_a_shard_needs_its_part_and_what_is_gathered_at_once() -> None:
    one, two = settings(algorithm="adamw"), settings(algorithm="adamw")
    two = replace(two, train=replace(two.train, devices=2, shard=True))
    model = MultimodalModel(one.model, Processor.made_up(PREPARE))
    layers = [sum(part.numel() for part in layer.parameters()) for layer in layers_of(model)]
    whole = sum(part.numel() for part in model.parameters())
    gathered = whole - sum(layers) + max(layers)
    assert costs(two).learning == costs(one).learning / 2 + 8 * gathered


def test_a_batch_twice_as_large_takes_twice_the_operations_and_activations_and_no_more_weights() -> None:
    one, two = costs(settings()), costs(settings(batch_size=64))
    assert (one.samples, two.samples, two.learning) == (32, 64, one.learning)
    assert two.operations == pytest.approx(2 * one.operations)
    assert two.activations == pytest.approx(2 * one.activations)


def test_operations_are_those_of_the_matrix_products() -> None:
    """Of one linear layer more, 2 * I * O a token forwards and twice as many backwards."""
    own = settings()
    deeper = replace(own.model, encoders={**own.model.encoders, "text": {"name": "text_transformer", "layers": 2}})
    more = costs(replace(own, model=deeper)).operations - costs(own).operations
    width, tokens = MODEL.width, PREPARE.context
    a_token = 2 * width * (3 * width + width + 4 * width + 4 * width) + 4 * tokens * width
    assert more == pytest.approx(3 * 32 * tokens * a_token, rel=0.01)


def test_encoding_fewer_samples_at_once_needs_less_memory_for_a_step() -> None:
    assert costs(settings(chunk=4)).activations < 0.7 * costs(settings()).activations


def test_presets_of_every_size_can_be_built(tmp_path: Path) -> None:
    sizes = {}
    for name in ("tiny", "base", "large"):
        (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        params.change(tmp_path / "params.yaml", presets=[ROOT / "presets" / f"{name}.yaml"])
        own = params.load(tmp_path / "params.yaml")
        with torch.device("meta"):
            model = MultimodalModel(own.model, Processor.made_up(own.prepare))
        sizes[name] = sum(one.numel() for one in model.parameters()) / 1e6
    assert sizes == {"tiny": pytest.approx(9.09, rel=0.01), "base": pytest.approx(254, rel=0.01),
                     "large": pytest.approx(625, rel=0.01)}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_every_preset_names_parts_that_there_are_and_tasks_that_its_model_can_learn(tmp_path: Path, name: str) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    params.change(tmp_path / "params.yaml", presets=[ROOT / "presets" / f"{name}.yaml"])
    own = params.load(tmp_path / "params.yaml")
    for spec in own.pretrain.objectives:
        assert set(columns_of(OBJECTIVES.build(spec).inputs)) & set(media()) <= set(own.model.encoders)
    with torch.device("meta"):
        model = MultimodalModel(own.model, Processor.made_up(own.prepare))
    for section in own.tasks:
        task = TASKS.build(own.finetune[section].task)
        assert set(task.needs) & set(media()) <= set(own.model.encoders)
        task.configure(model)
