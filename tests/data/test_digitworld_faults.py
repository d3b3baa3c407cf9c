import json
import re
from pathlib import Path

import pytest

import mmcore
from mmcore.data import digitworld
from mmcore.data.digitworld_faults import KINDS, fault_kind
from mmcore.data.modalities import UNLIMITED
from mmcore.data.modalities.image import Modality
from tests.data.planted_faults import planted_faults, truth
from tests.data.test_digitworld_scenes import understood


def faults(kind: str, split: str = "train") -> list[tuple[int, digitworld.Row]]:
    return [(index, digitworld.make("fault", split, index)) for index in range(20) if fault_kind(index) == kind]


def test_the_truth_under_tests_is_what_is_planted() -> None:
    assert planted_faults() == truth()
    counts = {kind: list(truth().values()).count(kind) for kind in KINDS}
    assert counts == dict.fromkeys(KINDS, 24)


def test_no_module_of_the_product_knows_the_truth() -> None:
    sources = Path(mmcore.__file__).parent.rglob("*.py")
    assert not any("planted_faults" in path.read_text() for path in sources)


def test_ids_look_like_those_of_clean_rows() -> None:
    for content in ("scene", "fault"):
        assert re.fullmatch(r"[0-9a-f]{14}", digitworld.identity(content, "train", 0))


def test_broken_pictures_cannot_be_decoded() -> None:
    for _, row in faults("undecodable_image"):
        with pytest.raises(ValueError, match="cannot be"):
            Modality().decode(row["image"], UNLIMITED)


def test_one_caption_is_empty() -> None:
    for _, row in faults("empty_caption"):
        assert [caption["text"] for caption in row["captions"]].count("") == 1


def test_the_stated_duration_is_far_off() -> None:
    for _, row in faults("wrong_duration"):
        seconds = (len(row["audio"]) - 44) / 16000
        assert json.loads(row["meta"])["duration"] > 1.5 * seconds


@pytest.mark.parametrize(("split", "sources"), [("train", {"validation", "test"}), ("validation", {"test"})])
def test_copies_are_scenes_of_splits_that_training_must_not_see(split: str, sources: set[str]) -> None:
    originals = {
        digitworld.make("scene", source, index)["sha256"]: source
        for source in ("validation", "test")
        for index in range(4)
    }
    assert {originals[row["sha256"]] for _, row in faults("duplicate_across_splits", split)} == sources


def test_a_swapped_attribute_makes_the_captions_wrong_and_nothing_else() -> None:
    for _, row in faults("swapped_attribute"):
        Modality().decode(row["image"], UNLIMITED)
        assert len({understood(caption["text"]) for caption in row["captions"]}) == 1
