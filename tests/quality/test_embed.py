import shutil

import pyarrow.parquet as pq
import pytest

from mmcore.quality.batch import profile_batch
from mmcore.quality.embed import embed_batch
from mmcore.workspace import read_json, write_json
from tests import tiny


def test_a_batch_is_embedded_as_the_test_split_was(chain):
    batch, reference = chain.root / "data" / "test" / "part-00000.parquet", chain.root / "reference"
    embeddings = embed_batch(batch, reference, chain.root / "tasks" / "retrieval")
    assert {name: len(places) for name, (places, _) in embeddings.items()} == {"image": 90, "text": 90}
    found = {row["id"]: row for row in profile_batch(batch, reference, embeddings=embeddings).to_pylist()}
    columns = [f"{kind}_component_{k}" for kind in ("image", "caption") for k in (1, 2)]
    columns.append("image_caption_similarity")
    for row in pq.read_table(reference / "reference.parquet").to_pylist():
        for name in columns:
            assert found[row["id"]][name] == pytest.approx(row[name], abs=1e-4)


def test_another_model_is_refused(chain, tmp_path):
    tiny.model(seed=1).save(tmp_path)
    with pytest.raises(ValueError, match="is not the model of the drift reference"):
        embed_batch(chain.root / "data", chain.root / "reference", tmp_path)


def test_a_reference_without_embeddings_asks_for_none(chain, tmp_path):
    reference = tmp_path / "reference"
    shutil.copytree(chain.root / "reference", reference)
    calibration = read_json(reference / "calibration.json")
    write_json(reference / "calibration.json", calibration | {"embeddings_of": None})
    assert embed_batch(chain.root / "data", reference, tmp_path / "no model") == {}
