"""open_clip: its CLIP and its train_one_epoch."""

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import open_clip
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip_train.train import train_one_epoch

import reference as work
from reference.handwritten import optimiser


def model() -> CLIP:
    vision = CLIPVisionCfg(
        layers=work.PICTURE_LAYERS, width=work.WIDTH, head_width=work.WIDTH // work.HEADS, patch_size=work.PATCH,
        image_size=work.SIDE,
    )  # fmt: skip
    text = CLIPTextCfg(
        context_length=work.TOKENS, vocab_size=work.VOCABULARY, width=work.WIDTH, heads=work.HEADS,
        layers=work.TEXT_LAYERS,
    )  # fmt: skip
    return CLIP(embed_dim=work.SPACE, vision_cfg=vision, text_cfg=text, output_dict=True)


class Loader:
    """An epoch of `count` batches."""

    def __init__(self, count: int) -> None:
        self.num_batches, self.num_samples, self.batch_size = count, count * work.BATCH, work.BATCH

    def __iter__(self) -> Iterator[Any]:
        return islice(work.ready(), self.num_batches)

    def __len__(self) -> int:
        return self.num_batches


def train(precision: str, count: int, took: Callable[[], None]) -> None:
    logging.disable(logging.CRITICAL)
    network = model().train()
    moves = optimiser(network)
    move = moves.step

    def moved(*arguments: Any, **options: Any) -> Any:
        found = move(*arguments, **options)
        took()
        return found

    moves.step = moved  # type: ignore[method-assign]
    data = {"train": SimpleNamespace(dataloader=Loader(count), set_epoch=lambda epoch: None)}
    arguments = SimpleNamespace(
        device="cpu", precision="amp_bf16" if precision == "bf16" else "fp32", distill=False, accum_freq=1,
        batch_size=work.BATCH, world_size=1, rank=0, local_rank=0, skip_scheduler=True, grad_clip_norm=None,
        horovod=False, log_every_n_steps=1, local_loss=False, gather_with_grad=False, wandb=False, tensorboard=False,
        save_logs=False, val_frequency=0, epochs=1, distributed=False,
    )  # fmt: skip
    train_one_epoch(network, data, open_clip.ClipLoss(), 0, moves, None, None, None, arguments)
