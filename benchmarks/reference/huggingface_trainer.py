"""Hugging Face: transformers' CLIPModel in its Trainer."""

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset
from transformers import CLIPConfig, CLIPModel, Trainer, TrainerCallback, TrainingArguments

import reference as work


def model() -> CLIPModel:
    sizes = {
        "hidden_size": work.WIDTH, "intermediate_size": 4 * work.WIDTH, "num_attention_heads": work.HEADS,
        "hidden_act": "gelu", "projection_dim": work.SPACE,
    }  # fmt: skip
    text = {
        **sizes, "num_hidden_layers": work.TEXT_LAYERS, "vocab_size": work.VOCABULARY,
        "max_position_embeddings": work.TOKENS, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": work.END,
    }  # fmt: skip
    vision = {
        **sizes, "num_hidden_layers": work.PICTURE_LAYERS, "image_size": work.SIDE, "patch_size": work.PATCH,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=work.SPACE))


class Clock(TrainerCallback):
    def __init__(self, took: Callable[[], None]) -> None:
        self.took = took

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.took()


def together(rows: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    images, ids = (torch.stack(parts) for parts in zip(*rows, strict=True))
    return {"pixel_values": images, "input_ids": ids, "return_loss": True}


def train(precision: str, count: int, took: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="mmcore-bench-") as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=work.BATCH, max_steps=count, bf16=precision == "bf16", use_cpu=True,
            report_to=[], save_strategy="no", logging_steps=500, disable_tqdm=True, learning_rate=work.RATE,
            weight_decay=work.DECAY, adam_beta1=work.BETAS[0], adam_beta2=work.BETAS[1], optim="adamw_torch_fused",
            max_grad_norm=0.0, remove_unused_columns=False, dataloader_drop_last=True,
        )  # fmt: skip
        rows = TensorDataset(work.normalised(work.pictures()), work.texts())
        Trainer(model(), arguments, train_dataset=rows, data_collator=together, callbacks=[Clock(took)]).train()
