from pathlib import Path

import numpy as np
import pytest
import torch

from mmcore.data import media_index, store
from mmcore.data.batches import Batches
from mmcore.data.corpus import Corpus
from mmcore.data.modalities import UNLIMITED, media
from mmcore.data.modalities.image import Modality
from mmcore.data.prepare import prepare
from mmcore.models.processor import Processor
from mmcore.settings import AugmentSettings
from tests.data.conftest import SETTINGS, accept, rows_of
from tests.data.test_prepare import picture


def test_rows_are_those_of_the_store_in_its_order(world: Path, prepared: Path, faulty: tuple[str, ...]) -> None:
    stored = [row for row in rows_of(world)["train"] if row["id"] not in faulty]
    corpus = Corpus(prepared, "train")
    assert len(corpus) == len(stored) == 19
    assert corpus.ids == [row["id"] for row in stored]
    assert corpus.rows[3] == {name: stored[3][name] for name in corpus.rows[3]}


def test_media_are_what_the_modality_makes_of_the_bytes(world: Path, prepared: Path) -> None:
    corpus = Corpus(prepared, "test")
    decoder = Modality()
    for index, row in enumerate(rows_of(world)["test"]):
        image = corpus.array("image", index)
        assert (image is None) == (row["image"] is None)
        if image is not None:
            assert np.array_equal(image, decoder.transform(decoder.decode(row["image"], UNLIMITED), SETTINGS))


def test_media_are_mapped_not_read(prepared: Path) -> None:
    corpus = Corpus(prepared, "test")
    audio, video = corpus.array("audio", corpus.with_("audio")[0]), corpus.array("video", corpus.with_("video")[0])
    assert audio is not None
    assert video is not None
    assert isinstance(audio, np.memmap)
    assert (audio.dtype, audio.shape[1]) == (np.float16, 40)
    assert video.shape == (3, 24, 24, 3)


def test_with_finds_the_rows_that_have_all_columns(prepared: Path) -> None:
    corpus = Corpus(prepared, "validation")
    assert len(corpus.with_("image", "captions")) == 4
    assert len(corpus.with_("video", "summary")) == 2
    assert len(corpus.with_("labels")) == 2
    assert corpus.with_("image", "video") == []
    assert corpus.with_() == list(range(8))
    with pytest.raises(LookupError, match="no column 'caption'"):
        corpus.with_("caption")


def test_parts_are_joined(tmp_path: Path) -> None:
    rows = [store.row(id=str(n), image=picture(n) if n % 2 else None, summary="x") for n in range(7)]
    store.write_shards(tmp_path / "data", "train", rows, rows_per_shard=3)
    store.write_manifest(tmp_path / "data")
    (tmp_path / "prepared").mkdir()
    prepare(tmp_path / "data", accept(tmp_path / "data", tmp_path / "validated"), tmp_path / "prepared", SETTINGS)
    corpus = Corpus(tmp_path / "prepared", "train")
    assert corpus.with_("image") == [1, 3, 5]
    images = [corpus.array("image", index) for index in range(7)]
    assert [None if image is None else int(image[0, 0, 0]) for image in images] == [None, 1, None, 3, None, 5, None]
    with pytest.raises(IndexError):
        corpus.array("image", 7)


@pytest.fixture(scope="module")
def streamed(world: Path, faulty: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared with the media left in the shards."""
    base = tmp_path_factory.mktemp("streamed")
    output = base / "prepared"
    output.mkdir()
    prepare(world, accept(world, base / "validated", without=faulty), output, SETTINGS, max_decoded_bytes=0)
    return output


def test_media_decoded_on_demand_are_those_that_were_decoded_before(
    world: Path, prepared: Path, streamed: Path
) -> None:
    assert not [path for path in streamed.rglob("*.npy") if path.name.removesuffix(".npy") in media()]
    for split in store.SPLITS:
        mapped, drawn = Corpus(prepared, split), Corpus(streamed, split, data=world)
        assert mapped.rows == drawn.rows
        for name in media():
            assert mapped.with_(name) == drawn.with_(name)
            for index in range(len(mapped)):
                expected, found = mapped.array(name, index), drawn.array(name, index)
                assert (expected is None) == (found is None)
                if expected is not None:
                    assert found.dtype == expected.dtype
                    assert np.array_equal(expected, found)


def test_batches_are_the_same_bit_by_bit_and_at_any_place_of_the_order(
    world: Path, prepared: Path, streamed: Path
) -> None:
    batches = [
        Batches(
            corpus, Processor.load(prepared, SETTINGS), ["image", "captions"], batch_size=4, seed=3,
            augment=AugmentSettings(shift=2, flip=True, bands=0, mute=0.0),
        )
        for corpus in (Corpus(prepared, "train"), Corpus(streamed, "train", data=world))
    ]  # fmt: skip
    for number in (7, 0, 1, 2, 3, 4):  # the fourth epoch first: nothing depends on what was drawn before
        mapped, drawn = (one.at(number) for one in batches)
        assert mapped.ids == drawn.ids
        for name, (values, mask) in mapped.inputs.items():
            assert torch.equal(values, drawn.inputs[name][0])
            assert torch.equal(mask, drawn.inputs[name][1])
        assert torch.equal(mapped.same_BB, drawn.same_BB)


def test_media_in_shards_need_the_very_shards(world: Path, streamed: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="data holds no data set"):
        Corpus(streamed, "train")
    other = tmp_path / "data"
    store.write_shards(other, "train", rows_of(world)["train"][:3])
    store.write_manifest(other)
    with pytest.raises(ValueError, match=r"was made from another shard train/part-00000.parquet than"):
        Corpus(streamed, "train", data=other)


def test_only_so_many_files_are_mapped_at_once(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_index, "mapped_at_once", lambda: 2)
    rows = [store.row(id=str(n), image=picture(n), summary="x") for n in range(12)]
    store.write_shards(tmp_path / "data", "train", rows, rows_per_shard=2)
    store.write_manifest(tmp_path / "data")
    (tmp_path / "prepared").mkdir()
    prepare(tmp_path / "data", accept(tmp_path / "data", tmp_path / "validated"), tmp_path / "prepared", SETTINGS)
    corpus = Corpus(tmp_path / "prepared", "train")
    for index in (0, 11, 5, 3, 8, 0, 11, 6):
        image = corpus.array("image", index)
        assert image is not None
        assert image[0, 0, 0] == index
        assert len(corpus._sources["image"]._mapped) <= 2


def test_an_unknown_split_is_named(prepared: Path) -> None:
    with pytest.raises(LookupError, match="no split 'dev'; it has: train, validation, test"):
        Corpus(prepared, "dev")
