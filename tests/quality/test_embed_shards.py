from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmcore.data.corpus import Corpus
from mmcore.data.store import read_table
from mmcore.models.multimodal import MultimodalModel
from mmcore.quality import embed_shards
from mmcore.quality.consistency import misfits
from mmcore.quality.embed import embed_items
from mmcore.quality.embed_shards import embed_pairs
from tests.quality.conftest import Chain


def accepted(chain: Chain) -> pa.Table:
    return read_table(chain.root / "validated" / "accepted.parquet", ["id", "split", "shard", "row"])


def embedded(chain: Chain, split: str = "test", medium: str = "image", **options: object) -> object:
    return embed_pairs(
        chain.root / "data", accepted(chain), chain.root / "tasks" / "retrieval", split, medium, processes=1, **options
    )


@pytest.mark.parametrize("medium", ["image", "video"])
def test_every_caption_is_embedded_with_its_medium_as_training_sees_them(chain: Chain, medium: str):
    found = embedded(chain, medium=medium)
    corpus = Corpus(chain.root / "prepared", "test")
    places = corpus.with_(medium, "captions")
    assert found.ids == [corpus.ids[place] for place in places]
    captions = [caption["text"] for place in places for caption in corpus.rows[place]["captions"]]
    assert found.texts == captions
    assert [found.ids[owner] for owner in found.owner] == [
        corpus.ids[place] for place in places for _ in corpus.rows[place]["captions"]
    ]
    model = MultimodalModel.load(chain.root / "tasks" / "retrieval")
    media = embed_items(model, medium, [corpus.array(medium, place) for place in places])
    np.testing.assert_allclose(found.media_NE, media, atol=1e-6)
    np.testing.assert_allclose(found.texts_PE, embed_items(model, "text", captions), atol=1e-6)
    assert len(misfits(found)) == len(captions)


def test_what_was_embedded_is_kept_for_the_same_model_alone(chain: Chain, tmp_path: Path):
    first = embedded(chain, cache=tmp_path / "cache")
    entries = list((tmp_path / "cache" / "embed_shard").iterdir())
    again = embedded(chain, cache=tmp_path / "cache")
    np.testing.assert_array_equal(first.media_NE, again.media_NE)
    assert list((tmp_path / "cache" / "embed_shard").iterdir()) == entries
    other = tmp_path / "other"
    other.mkdir()
    model = MultimodalModel.load(chain.root / "tasks" / "retrieval")
    model.projections["image"].out.bias.data += 1
    model.save(other)
    found = embed_pairs(
        chain.root / "data", accepted(chain), other, "test", "image", cache=tmp_path / "cache", processes=1
    )
    assert not np.allclose(found.media_NE, first.media_NE)
    assert len(list((tmp_path / "cache" / "embed_shard").iterdir())) == 2 * len(entries)


def test_only_accepted_rows_are_embedded(chain: Chain):
    whole = embedded(chain)
    one = accepted(chain).filter(pa.compute.equal(accepted(chain)["id"], whole.ids[0]))
    alone = embed_pairs(chain.root / "data", one, chain.root / "tasks" / "retrieval", "test", "image", processes=1)
    assert alone.ids == whole.ids[:1]
    nothing = embed_pairs(
        chain.root / "data", one.slice(0, 0), chain.root / "tasks" / "retrieval", "test", "image", processes=1
    )
    assert nothing.ids == []
    assert nothing.media_NE.shape == (0, whole.media_NE.shape[1])


def test_a_model_that_changes_meanwhile_is_refused(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="has changed while it was in use"):
        embed_shards._load(str(tmp_path), "0", (), "cpu")
