"""Several trainings from one start, in one model: the mean of their weights."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mmcore.data.batches import Rows
from mmcore.models.multimodal import MultimodalModel
from mmcore.settings import OptimSettings
from mmcore.training.fit import FitResult, Learner, validated


def check_members(members: int, section: str, init: str) -> None:
    """ValueError that names the `section` unless so many trainings can be averaged."""
    if members < 1:
        raise ValueError(f"{section}.members is {members}; set it to 1 or more trainings")
    if members > 1 and init == "scratch":
        raise ValueError(
            f"{section}.members is {members}: trainings are averaged that end near each other, and those from random "
            f"weights do not; set it to 1, or {section}.init to pretrained"
        )


def soup(
    models: Sequence[MultimodalModel], results: Sequence[FitResult], learner: Learner, validation: Rows,
    optim: OptimSettings,
) -> tuple[FitResult, str]:  # fmt: skip
    """Give the first of the trained models the mean of the weights of all (a uniform soup, Wortsman et al. 2022), and
    validate it.

    Returns the steps of all with the numbers of the weights that it now has, and a line with those of each.
    """
    average(models)
    numbers = validated(models[0], learner, validation, batch_size=optim.batch_size)
    name = learner.headline[0]
    line = f"members: the weights are the mean of {len(models)} trainings, whose {name} at validation was " + ", ".join(
        f"{result.validation[name]:.4g}" for result in results
    )
    steps, skipped = sum(result.steps for result in results), sum(result.skipped for result in results)
    return replace(results[0], steps=steps, skipped=skipped, validation=numbers), line


@torch.no_grad()
def average(models: Sequence[MultimodalModel]) -> None:
    """Give the first of the models the mean of the weights of all."""
    states = [model.state_dict() for model in models]
    for name, tensor in states[0].items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name].double() for state in states]).mean(0))
