"""The work that trainings are compared on, and how each of those compared does it: one file for each.

A dual encoder of pictures and texts: pictures of 112 x 112 pixels in patches of 16 through 6 blocks, texts of 32
tokens of 8,192 through 4 blocks, both 192 wide with 3 heads and 768 in between, into a space of 192; symmetric
InfoNCE with a learned temperature over 64 pairs, AdamW with betas 0.9 and 0.98 and decay 0.1. A file's
`train(precision, count, took)` takes so many steps and calls `took` after each.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

SIDE, PATCH, WIDTH, HEADS, SPACE = 112, 16, 192, 3, 192
PICTURE_LAYERS, TEXT_LAYERS, VOCABULARY, TOKENS, BATCH = 6, 4, 8192, 32, 64
RATE, DECAY, BETAS = 1e-3, 0.1, (0.9, 0.98)
END = VOCABULARY - 1  # the highest id ends a text, as open_clip and CLIP look for it
ROWS = 4 * BATCH
DECLARED = torch.library.Library("torchvision", "DEF")
MEAN, DEVIATION = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)


def texts() -> Tensor:
    """Ids int64 [ROWS, TOKENS], the last of them the end."""
    ids = torch.randint(5, END, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    ids[:, -1] = END
    return ids


def pictures() -> Tensor:
    """Pixels uint8 [ROWS, SIDE, SIDE, 3]."""
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (ROWS, SIDE, SIDE, 3), dtype=np.uint8))


def normalised(pixels: Tensor) -> Tensor:
    """What a network of the peers takes: float [N, 3, SIDE, SIDE]."""
    mean, deviation = (torch.tensor(numbers)[:, None, None] for numbers in (MEAN, DEVIATION))
    return (pixels.permute(0, 3, 1, 2) / 255 - mean) / deviation


def ready() -> Iterator[tuple[Tensor, Tensor]]:
    """Batches that lie ready in memory, normalised, without end: the best case of every peer."""
    images, ids = normalised(pictures()), texts()
    while True:
        yield from zip(images.split(BATCH), ids.split(BATCH), strict=True)


# open_clip and others import torchvision, whose wheel is built for CUDA: where torch is not, it lacks operators. They
# need only be declared; nothing here uses them.
for operator in (
    "nms", "qnms", "roi_align", "qroi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward",
    "roi_pool", "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d",
    "_deform_conv2d_backward",
):  # fmt: skip
    DECLARED.define(f"{operator}(Tensor x) -> Tensor")
