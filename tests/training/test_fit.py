import csv
import dataclasses
import itertools
import json
import os
import signal
import time

import pytest
import torch

from mmcore import workspace
from mmcore.models.multimodal import MultimodalModel
from mmcore.objectives._mixture import Mixture
from mmcore.training import checkpoint
from mmcore.training import fit as fitting
from mmcore.training.device import Device
from mmcore.training.fit import Interrupted, fit
from mmcore.training.operations import Operations
from mmcore.training.optim import Weights
from tests.models.test_encoders import OPTIONS
from tests.tiny import AUGMENT, CPU, MODEL, OBJECTIVES, corpus, model, optim, processor

IMAGE = "encoders.image."
BF16 = Device(torch.device("cpu"), "bf16", "CPU")


class Watched:
    """A learner that does what another does, and something at a given step."""

    def __init__(self, learner, at=None, action=None):
        self.learner, self.at, self.action, self.steps = learner, at, action, 0
        self.headline, self.terms = learner.headline, learner.terms
        self.batches, self.validate, self.heads = learner.batches, learner.validate, learner.heads

    def loss(self, model, batch):
        losses = self.learner.loss(model, batch)
        self.steps += 1
        return self.action(losses) if self.at is not None and self.at(self.steps) else losses


def terminate(losses):
    os.kill(os.getpid(), signal.SIGTERM)
    return losses


def spoilt(losses):
    return {name: value * float("nan") for name, value in losses.items()}


def learner():
    return Mixture(OBJECTIVES, corpus())


def train(folder, made=None, learning=None, **options):
    made = made or model(settings=dataclasses.replace(MODEL, dropout=0.1))
    result = fit(
        made, learning or learner(), corpus(), corpus(scenes=12), optim=optim(**options), augment=AUGMENT, device=CPU,
        seed=3, checkpoints=folder / "checkpoints", logs=folder / "logs", phase="test",
    )  # fmt: skip
    return made, result


def rows(folder):
    with open(folder / "logs" / "curves.csv", newline="") as file:
        return list(csv.DictReader(file))


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path):
    one, first = train(tmp_path / "a")
    other, second = train(tmp_path / "b")
    assert equal(one, other)
    assert first == second


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("changes", [{"ema": None}, {"ema": 0.9}, {"algorithm": "muon"}], ids=str)
def test_going_on_after_a_stop_equals_never_having_stopped(tmp_path, stop, changes):
    whole, expected = train(tmp_path / "whole", steps=7, **changes)
    with pytest.raises(Interrupted, match=f"after step {stop} of 7"):
        train(tmp_path / "parts", learning=Watched(learner(), lambda n: n == stop, terminate), steps=7, **changes)
    resumed, result = train(tmp_path / "parts", steps=7, **changes)
    assert equal(whole, resumed)
    assert result == expected


def test_going_on_from_an_older_checkpoint_after_a_kill_equals_never_having_stopped(tmp_path):
    whole, _ = train(tmp_path / "whole", steps=8)

    def killed(losses):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", learning=Watched(learner(), lambda n: n == 6, killed), steps=8)
    resumed, _ = train(tmp_path / "parts", steps=8)  # from step 3
    assert equal(whole, resumed)


def test_training_lowers_the_validation_loss_and_leaves_the_best_weights(tmp_path):
    made = model()
    before = learner().validate(made, corpus(scenes=12), batch_size=6)["loss"]
    made, result = train(tmp_path, made, steps=30, validate_every=10)
    after = learner().validate(made, corpus(scenes=12), batch_size=6)
    assert after == pytest.approx(result.validation)
    assert after["loss"] < 0.8 * before
    assert result.best_step in (10, 20, 30)


def test_the_best_and_not_the_last_weights_are_kept(tmp_path):
    scores = iter([3.0, 1.0, 2.0])
    learning = Watched(learner())
    learning.validate = lambda *_, **__: {"loss": next(scores)}
    _, result = train(tmp_path, learning=learning, steps=9)
    assert (result.best_step, result.validation) == (6, {"loss": 1.0})


def test_a_step_whose_loss_is_no_number_changes_no_weight(tmp_path):
    made, result = train(tmp_path, learning=Watched(learner(), lambda n: n == 1, spoilt), steps=1, validate_every=1)
    assert equal(made, model(settings=dataclasses.replace(MODEL, dropout=0.1)))
    assert result.skipped == 1


def test_three_losses_in_a_row_that_are_no_number_stop_the_run_and_name_the_samples(tmp_path):
    with pytest.raises(ValueError, match=r"3 times in a row, up to step 5; the samples were: .*(scene|clip)-\d+"):
        train(tmp_path, learning=Watched(learner(), lambda n: n >= 3, spoilt), steps=9)


def test_two_bad_losses_at_a_time_do_not_stop_it(tmp_path):
    _, result = train(tmp_path, learning=Watched(learner(), lambda n: n % 3, spoilt), steps=9)
    assert result.skipped == 6


def test_curves_hold_every_term_and_the_validation(tmp_path):
    train(tmp_path, steps=20, validate_every=10)
    logged, checked = ([row for row in rows(tmp_path) if bool(row["validation"]) == kind] for kind in (False, True))
    assert [row["step"] for row in logged] == [row["step"] for row in checked] == ["10", "20"]
    for name in ("lr", "grad_norm", "samples_per_second", "seconds", "teraflops", "mfu", "memory_mb", *learner().terms):
        assert float(logged[0][name]) >= 0
    assert float(logged[0]["data_wait"]) < 1
    assert float(logged[0]["loss"]) == pytest.approx(sum(float(logged[0][name]) for name in learner().terms))


def test_curves_say_how_much_is_computed_and_what_share_of_the_most_that_is(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "peak", lambda device: 1e9)
    train(tmp_path, steps=20)
    batches = learner().batches(corpus(), processor(), batch_size=6, seed=3, augment=AUGMENT)
    total = 0
    for number in range(20):
        made = model()
        with Operations() as counted:
            torch.stack(list(learner().loss(made, batches.at(number)).values())).sum().backward()
        total += counted.total
    logged = [row for row in rows(tmp_path) if row["teraflops"]]
    spent = [0.0, *(float(row["seconds"]) for row in logged)]
    said = sum(
        float(row["teraflops"]) * 1e12 * (end - begin)
        for row, begin, end in zip(logged, spent[:-1], spent[1:], strict=True)
    )
    assert said == pytest.approx(total, rel=0.05)
    for row in logged:
        assert float(row["mfu"]) == pytest.approx(1000 * float(row["teraflops"]), rel=0.01)


def test_where_nobody_knows_what_the_device_can_do_the_share_stays_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "peak", lambda device: None)
    train(tmp_path)
    assert {row["mfu"] for row in rows(tmp_path)} == {""}


def test_the_share_is_shown_while_it_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(workspace.time, "monotonic", itertools.count(step=10).__next__)
    monkeypatch.setenv("MMCORE_PROGRESS", str(tmp_path / "progress.jsonl"))
    train(tmp_path, steps=12)
    last = json.loads((tmp_path / "progress.jsonl").read_text().splitlines()[-1])
    assert last["values"]["mfu"] == float(next(row["mfu"] for row in rows(tmp_path) if row["mfu"]))


def test_a_slow_disk_shows_in_the_share_of_the_time_that_was_waited_for_data(tmp_path):
    class Slow:
        def __init__(self, source):
            self.source = source

        def at(self, number):
            time.sleep(0.2)
            return self.source.at(number)

    learning = Watched(learner())
    learning.batches = lambda *arguments, **options: Slow(learner().batches(*arguments, **options))
    train(tmp_path, learning=learning, steps=10, validate_every=10)
    row = rows(tmp_path)[0]
    assert 0.3 < float(row["data_wait"]) <= 1
    assert float(row["seconds"]) >= 1.9


def test_a_resumed_run_appends_to_the_curves_and_a_fresh_one_starts_them_anew(tmp_path):
    with pytest.raises(Interrupted):
        train(tmp_path, learning=Watched(learner(), lambda n: n == 4, terminate))
    train(tmp_path)
    assert [row["step"] for row in rows(tmp_path) if row["validation"]] == ["3", "6"]
    for path in (tmp_path / "checkpoints").iterdir():
        (path / "COMPLETE").unlink()
    train(tmp_path, steps=3)
    assert [row["step"] for row in rows(tmp_path) if row["validation"]] == ["3"]


def test_a_time_budget_ends_the_training_early(tmp_path):
    _, result = train(tmp_path, steps=100000, max_seconds=0.3, validate_every=100000)
    assert 0 < result.steps < 100000
    assert result.best_step == result.steps


def test_a_stop_during_the_last_step_is_a_finished_training(tmp_path):
    _, result = train(tmp_path, learning=Watched(learner(), lambda n: n == 6, terminate))
    assert result.steps == 6


def test_fewer_samples_at_once_learn_the_same_in_less_memory_at_once(tmp_path):
    seen = []
    made = model()
    encoder = made.encoders["image"]
    encoder.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])) if encoder.training else None)
    _, chunked = train(tmp_path / "a", made=made, chunk=4)
    _, whole = train(tmp_path / "b", made=model())
    assert set(seen) == {4, 2}
    assert chunked.validation == pytest.approx(whole.validation, rel=1e-4)


def test_bf16_and_fp32_losses_are_within_a_percent():
    learning, batch = learner(), None
    made = model()
    batch = learning.batches(corpus(), processor(), batch_size=6, seed=1, augment=AUGMENT).at(0)
    torch.manual_seed(0)
    exact = sum(learning.loss(made, batch).values())
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        rough = sum(learning.loss(made, batch).values())
    assert float(rough.detach()) == pytest.approx(float(exact.detach()), rel=0.01)
    assert isinstance(made, MultimodalModel)


# Frozen and slowed encoders -------------------------------------------------------------------------------------------


def towers(**options):
    image = {"name": "vit", **OPTIONS["vit"], "layers": 2, **options}
    return dataclasses.replace(MODEL, encoders={**MODEL.encoders, "image": image})


def trained(folder, device=CPU, **options):
    """A model before and after two steps, and the tensors of its checkpoint."""
    made = model(settings=towers(**options))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    fit(
        made, learner(), corpus(), corpus(scenes=12), optim=optim(steps=2, validate_every=2, warmup_steps=0),
        augment=AUGMENT, device=device, seed=3, checkpoints=folder / "checkpoints", logs=folder / "logs", phase="test",
    )  # fmt: skip
    return before, made, checkpoint.latest(folder / "checkpoints").tensors


@pytest.mark.parametrize("device", [CPU, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(("train", "learns"), [("none", ()), ("last", ("blocks.1.", "norm.")), ("all", ("",))])
def test_frozen_weights_stay_and_have_neither_gradient_nor_optimiser_slots(tmp_path, device, train, learns):
    before, made, saved = trained(tmp_path, device, train=train)
    own = {name: p for name, p in made.named_parameters() if name.startswith(IMAGE)}
    learning = {name for name in own if name.removeprefix(IMAGE).startswith(learns)} if learns else set()
    assert {name for name, p in own.items() if p.grad is not None} == learning
    slots = {key.removeprefix("optimiser.mean.") for key in saved if key.startswith("optimiser.mean.")}
    assert {name for name in slots if name.startswith(IMAGE)} == learning
    assert {name for name, p in own.items() if not torch.equal(p, before[name])} == learning
    assert not torch.equal(made.projections["image"].out.weight, before["projections.image.out.weight"])


def test_lower_layers_move_less_by_the_factor(tmp_path):
    weight, moved = "encoders.image.blocks.0.attention.qkv.weight", []
    for decay in (1.0, 0.1):
        made = model(settings=towers(layer_decay=decay))
        before = made.get_parameter(weight).clone()
        fit(
            made, learner(), corpus(), corpus(scenes=12), augment=AUGMENT, device=CPU, seed=3, phase="test",
            optim=optim(steps=1, validate_every=1, warmup_steps=0, weight_decay=0.0),
            checkpoints=tmp_path / str(decay), logs=tmp_path,
        )  # fmt: skip
        moved.append(float((made.get_parameter(weight) - before).detach().norm()))
    assert moved[1] == pytest.approx(0.1 * moved[0], rel=1e-3)


def test_a_frozen_encoder_stays_frozen_when_the_model_is_loaded(tmp_path):
    made = model(settings=towers(train="none"))
    made.save(tmp_path)
    loaded = type(made).load(tmp_path)
    assert {name for name, p in loaded.named_parameters() if not p.requires_grad} == {
        name for name, _ in loaded.named_parameters() if name.startswith(IMAGE)
    }


def test_frozen_weights_are_rounded_with_the_rest_and_come_back_exact():
    made = model(settings=towers(train="none"))
    before = made.get_parameter("encoders.image.patches.weight").clone()
    weights = Weights(made, "bf16")
    assert made.get_parameter("encoders.image.patches.weight").dtype == torch.bfloat16
    weights.restore(weights.state())
    assert torch.equal(made.get_parameter("encoders.image.patches.weight"), before)
