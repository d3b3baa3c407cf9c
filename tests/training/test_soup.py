import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmcore.training import fit
from mmcore.training.finetune import finetune
from mmcore.training.fit import Interrupted
from tests.tiny import model, optim, write_prepared
from tests.training.test_adapters import LORA, QUESTIONS
from tests.training.test_pretrain import settings


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_prepared(root / "prepared")
    (root / "pretrained").mkdir()
    model().save(root / "pretrained")
    return root


def tuned(world: Path, output: Path, *, members: int, seed: int = 1, init: str = "pretrained", adapter: Any = None,
          **changes: Any) -> Path:  # fmt: skip
    whole = settings()
    own = dataclasses.replace(
        whole.finetune["captioning"], task=QUESTIONS, members=members, init=init, adapter=adapter,
        optim=optim(**{"lr": 1e-2, **changes}),
    )  # fmt: skip
    output.mkdir(exist_ok=True)
    finetune(
        "own", world / "prepared", world / "pretrained", output,
        dataclasses.replace(whole, finetune={"own": own}, seed=seed),
        checkpoints=output.parent / f"{output.name}-ck", logs=output.parent / f"{output.name}-logs",
    )  # fmt: skip
    return output


@pytest.mark.parametrize("adapter", [None, LORA], ids=["all", "lora"])
def test_the_weights_are_the_mean_of_the_members(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: Any
) -> None:
    members = []
    finished = fit._State.finish

    def noted(self: Any) -> Any:
        result = finished(self)
        members.append((self.seed, [{name: t.clone() for name, t in self.model.state_dict().items()}]))
        return result

    monkeypatch.setattr(fit._State, "finish", noted)
    soup = load_file(tuned(world, tmp_path / "soup", members=3, adapter=adapter) / "model.safetensors")
    assert [seed for seed, _ in members] == [1, 2, 3]
    if adapter is None:
        states = [state for _, (state,) in members]
        for name, tensor in soup.items():
            torch.testing.assert_close(tensor, sum(state[name] for state in states) / 3, rtol=1e-5, atol=1e-7)
        assert not torch.equal(states[0]["heads.answers_image.out.weight"], states[1]["heads.answers_image.out.weight"])
    else:
        assert not any("parametrizations" in name for name in soup)
    training = json.loads((tmp_path / "soup" / "training.json").read_text())
    assert training["steps"] == 3 * 6
    assert training["notes"][0].startswith("members: the weights are the mean of 3 trainings, whose accuracy")
    assert not (tmp_path / "soup-ck").exists()


def test_all_members_begin_with_the_same_weights_heads_included(world: Path, tmp_path: Path) -> None:
    one, both = (tuned(world, tmp_path / str(n), members=n, lr=0.0) / "model.safetensors" for n in (1, 2))
    assert one.read_bytes() == both.read_bytes()


def test_an_interrupted_soup_ends_with_the_same_bits_and_trains_no_member_twice(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuned(world, tmp_path / "whole", members=2)
    taken, steps = fit._State.take, []

    def stop_in_the_second(self: Any, *arguments: Any, **options: Any) -> Any:
        steps.append((self.seed, self.step))
        if (self.seed, self.step) == (2, 2) and steps.count((2, 2)) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, *arguments, **options)

    monkeypatch.setattr(fit._State, "take", stop_in_the_second)
    with pytest.raises(Interrupted):
        tuned(world, tmp_path / "part", members=2)
    part = tuned(world, tmp_path / "part", members=2)
    assert len(steps) == len(set(steps)) == 12
    assert (part / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (part / "training.json").read_bytes() == (whole / "training.json").read_bytes()


def test_what_cannot_be_averaged_is_named(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"finetune.own.members is 0; set it to 1 or more"):
        tuned(world, tmp_path, members=0)
    with pytest.raises(ValueError, match=r"finetune.own.members is 2: .* or finetune.own.init to pretrained"):
        tuned(world, tmp_path, members=2, init="scratch")
