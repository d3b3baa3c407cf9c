"""How many copies of pictures are found among their originals, by what was done to the copy, and what is found wrongly.

    python benchmarks/copies.py [--photos FOLDER]

Of a folder of JPEGs every eighth one is taken, at 192 x 192; without one the pictures are generated.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcore.quality.copies import picture, same_pictures
from mmcore.quality.fingerprints import of_image
from mmcore.quality.neighbours import close_hashes

COUNT, EVERY, SIDE = 500, 8, 192
Pixels = NDArray[np.uint8]


def generated() -> list[Pixels]:
    """Soft fields of colour with grain over them."""
    rng = np.random.default_rng(0)
    fields = [Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)) for _ in range(COUNT)]
    soft = [np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int64) for one in fields]
    return [np.clip(one + rng.integers(-6, 7, one.shape), 0, 255).astype(np.uint8) for one in soft]


def jpeg(pixels: Pixels, quality: int = 90) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def cut(pixels: Pixels, share: float, *, far: bool = True) -> Pixels:
    """Without `share` of the height at the top and of the width on the left; with `far`, of the other sides, too."""
    edge = round(share * len(pixels))
    return pixels[edge : len(pixels) - edge * far, edge : len(pixels) - edge * far]


def marked(pixels: Pixels) -> Pixels:
    found = pixels.copy()
    found[-round(0.12 * len(pixels)) :, -round(0.3 * len(pixels)) :] = 255
    return found


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG again, quality 60": lambda one: jpeg(one, 60),
    "half the size": lambda one: jpeg(np.asarray(Image.fromarray(one).resize((len(one) // 2,) * 2))),
    "1 % cut off each side": lambda one: jpeg(cut(one, 0.01)),
    "2 % cut off each side": lambda one: jpeg(cut(one, 0.02)),
    "2 % off two sides": lambda one: jpeg(cut(one, 0.02, far=False)),
    "10 % brighter": lambda one: jpeg(np.clip(one * 1.1, 0, 255).astype(np.uint8)),
    "10 % darker": lambda one: jpeg((one * 0.9).astype(np.uint8)),
    "bright bar in a corner": lambda one: jpeg(marked(one)),
    "mirrored": lambda one: jpeg(one[:, ::-1]),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path)
    folder = parser.parse_args().photos
    files = sorted(folder.rglob("*.jpg"))[::EVERY] if folder else []
    originals = [np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE))) for file in files] or generated()
    for name, change in CHANGES.items():
        everything = [*originals, *map(change, originals)]
        hashes = [of_image(one) for one in everything]
        pairs = close_hashes(np.array([place if found is None else found for place, found in enumerate(hashes)]))
        proven = pairs[same_pictures(np.stack([picture(one) for one in everything]), pairs)]
        right = int((proven[:, 1] - proven[:, 0] == len(originals)).sum())
        print(f"{name:24} {right / len(originals):7.1%} of {len(originals):,} found, {len(proven) - right} wrong pairs")


if __name__ == "__main__":
    main()
