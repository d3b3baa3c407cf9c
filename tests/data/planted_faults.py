"""The truth about DigitWorld's planted faults: id -> what is wrong. `python -m tests.data.planted_faults` writes it."""

from pathlib import Path

from mmcore.data.digitworld import Sizes, identity
from mmcore.data.digitworld_faults import fault_kind
from mmcore.data.store import SPLITS
from mmcore.workspace import read_json, write_json

PATH = Path(__file__).with_suffix(".json")


def truth() -> dict[str, str]:
    counts = dict(zip(SPLITS, Sizes().faults, strict=True))
    return {
        identity("fault", split, index): fault_kind(index) for split in SPLITS for index in range(counts[split])
    }  # fmt: skip


def planted_faults() -> dict[str, str]:
    """What the file says."""
    faults: dict[str, str] = read_json(PATH)
    return faults


if __name__ == "__main__":
    write_json(PATH, truth())
