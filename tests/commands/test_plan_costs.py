from mmcore.commands.plan_costs import plan_costs
from mmcore.workspace import Workspace
from tests.conftest import ROOT


def test_a_preset_and_settings_are_tried_and_not_applied():
    before = (ROOT / "params.yaml").read_bytes()
    told = plan_costs(Workspace(ROOT), "nano", ["pretrain.optim.batch_size=32", "train.device=cpu"])
    assert (ROOT / "params.yaml").read_bytes() == before
    model, step, memory, time, beside = told.splitlines()
    assert model.startswith("model: 1.55 M parameters (encoders.image ")
    assert step.startswith("a step: 36 samples, ")  # at every fourth also 16 clips
    assert memory.startswith("memory on each: about ")
    assert time.startswith("time: 8 steps in about ")
    assert beside.startswith("not in that time: 12 steps of fine-tuning (retrieval 4, ")


def test_each_of_several_trainings_of_a_task_is_counted():
    told = plan_costs(Workspace(ROOT), "nano", ["finetune.retrieval.members=3", "train.device=cpu"])
    assert "20 steps of fine-tuning (retrieval 3 x 4, captioning 4, summarisation 4)" in told
