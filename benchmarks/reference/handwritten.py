"""The loop that one writes by hand."""

import math
from collections.abc import Callable
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import reference as work


class Block(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.before_attention, self.before_feed = nn.LayerNorm(work.WIDTH), nn.LayerNorm(work.WIDTH)
        self.qkv, self.out = nn.Linear(work.WIDTH, 3 * work.WIDTH), nn.Linear(work.WIDTH, work.WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(work.WIDTH, 4 * work.WIDTH), nn.GELU(), nn.Linear(4 * work.WIDTH, work.WIDTH)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.qkv(self.before_attention(tokens)).unflatten(-1, (3, work.HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts, is_causal=self.causal)
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        return tokens + self.feed(self.before_feed(tokens))


class DualEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        patches = (work.SIDE // work.PATCH) ** 2
        self.patches = nn.Conv2d(3, work.WIDTH, work.PATCH, work.PATCH, bias=False)
        self.first = nn.Parameter(0.02 * torch.randn(1, 1, work.WIDTH))
        self.places = nn.Parameter(0.02 * torch.randn(patches + 1, work.WIDTH))
        self.words = nn.Embedding(work.VOCABULARY, work.WIDTH)
        self.order = nn.Parameter(0.02 * torch.randn(work.TOKENS, work.WIDTH))
        nn.init.normal_(self.words.weight, std=0.02)
        self.seeing = nn.Sequential(nn.LayerNorm(work.WIDTH), *(Block(False) for _ in range(work.PICTURE_LAYERS)))
        self.reading = nn.Sequential(*(Block(True) for _ in range(work.TEXT_LAYERS)))
        self.picture, self.text = (
            nn.Sequential(nn.LayerNorm(work.WIDTH), nn.Linear(work.WIDTH, work.SPACE, bias=False)) for _ in range(2)
        )
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        first = self.first.to(patches.dtype).expand(len(images), -1, -1)
        seen = self.seeing(torch.cat([first, patches], 1) + self.places)[:, 0]
        read = self.reading(self.words(ids) + self.order)[torch.arange(len(ids)), ids.argmax(1)]
        left, right = (F.normalize(part.float(), dim=1) for part in (self.picture(seen), self.text(read)))
        logits, own = self.scale.exp() * left @ right.T, torch.arange(len(ids))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def optimiser(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=work.RATE, weight_decay=work.DECAY, betas=work.BETAS, fused=True)


def train(precision: str, count: int, took: Callable[[], None]) -> None:
    model = DualEncoder().train()
    moves = optimiser(model)
    for images, ids in islice(work.ready(), count):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(images, ids)
        moves.zero_grad(set_to_none=True)
        loss.backward()
        moves.step()
        loss.item()
        took()
