from pathlib import Path

import numpy as np
import pytest

from mmcore.data import store
from mmcore.data.corpus import Corpus
from mmcore.data.modalities import UNLIMITED
from mmcore.data.modalities.image import Modality
from tests.data.conftest import SETTINGS, rows_of


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
        image = corpus.image(index)
        assert (image is None) == (row["image"] is None)
        if image is not None:
            assert np.array_equal(image, decoder.transform(decoder.decode(row["image"], UNLIMITED), SETTINGS))


def test_media_are_mapped_not_read(prepared: Path) -> None:
    corpus = Corpus(prepared, "test")
    audio, video = corpus.audio(corpus.with_("audio")[0]), corpus.video(corpus.with_("video")[0])
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
    from mmcore.data.prepare import prepare
    from tests.data.conftest import accept
    from tests.data.test_prepare import picture

    rows = [store.row(id=str(n), image=picture(n) if n % 2 else None, summary="x") for n in range(7)]
    store.write_shards(tmp_path / "data", "train", rows, rows_per_shard=3)
    store.write_manifest(tmp_path / "data")
    (tmp_path / "prepared").mkdir()
    prepare(tmp_path / "data", accept(tmp_path / "data", tmp_path / "validated"), tmp_path / "prepared", SETTINGS)
    corpus = Corpus(tmp_path / "prepared", "train")
    assert corpus.with_("image") == [1, 3, 5]
    images = [corpus.image(index) for index in range(7)]
    assert [None if image is None else int(image[0, 0, 0]) for image in images] == [None, 1, None, 3, None, 5, None]
    with pytest.raises(IndexError):
        corpus.image(7)


def test_an_unknown_split_is_named(prepared: Path) -> None:
    with pytest.raises(LookupError, match="no split 'dev'; it has: train, validation, test"):
        Corpus(prepared, "dev")
