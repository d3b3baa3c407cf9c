import dataclasses
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tokenizers import Tokenizer

from mmcore.data import store
from mmcore.data.corpus import Corpus
from mmcore.data.digitworld_objects import png
from mmcore.data.parts import decode
from mmcore.data.prepare import prepare, table_texts
from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.workspace import hash_folder, read_json
from tests import tiny
from tests.data.conftest import SETTINGS, accept


def picture(value: int) -> bytes:
    return png(np.full((20, 30, 3), value, np.uint8))


def chinese(root: Path) -> Path:
    """Pictures with Chinese captions and nothing else, in all splits."""
    for split in store.SPLITS:
        rows = [
            store.row(
                id=f"{split}{number}", image=picture(number), captions=[{"text": "一只狗在草地上。", "lang": "zh"}]
            )
            for number in range(4)
        ]
        store.write_shards(root, split, rows, rows_per_shard=3)
    store.write_manifest(root)
    return root


def test_the_output_describes_itself(prepared: Path) -> None:
    content = read_json(prepared / "prepared.json")
    assert content["modalities"] == {"image": 12 + 4 + 5 + 3 + 2 + 2, "audio": 12 + 4 + 5, "video": 4 + 2 + 3}
    assert content["splits"]["train"] == {"rows": 19, "parts": ["train/part-00000"]}
    assert content["settings"] == dataclasses.asdict(SETTINGS)
    assert pq.read_metadata(prepared / "profile.parquet").num_rows == 19 + 8 + 10


def test_a_modality_that_nobody_has_leaves_no_file(tmp_path: Path) -> None:
    data = chinese(tmp_path / "data")
    output = tmp_path / "prepared"
    output.mkdir()
    prepare(data, accept(data, tmp_path / "validated"), output, SETTINGS, processes=1)
    assert read_json(output / "prepared.json")["modalities"] == {"image": 12, "audio": 0, "video": 0}
    assert [path.name for path in sorted((output / "train/part-00000").iterdir())] == [
        "image.index.npy", "image.npy", "rows.parquet"
    ]  # fmt: skip
    corpus = Corpus(output, "train")
    assert len(corpus) == 4
    assert corpus.array("audio", 0) is None
    tokenizer = Tokenizer.from_file(str(output / "tokenizer.json"))
    assert tokenizer.decode(tokenizer.encode("一只狗在草地上。").ids) == "一只狗在草地上。"


def test_rows_that_were_not_accepted_are_left_out(tmp_path: Path) -> None:
    data = chinese(tmp_path / "data")
    output = tmp_path / "prepared"
    output.mkdir()
    validated = accept(data, tmp_path / "validated", without=("train0", "train2", "train3"))
    prepare(data, validated, output, SETTINGS, processes=1)
    corpus = Corpus(output, "train")
    assert corpus.ids == ["train1"]
    image = corpus.array("image", 0)
    assert image is not None
    assert (image == 1).all()
    assert "train0" not in pq.read_table(output / "profile.parquet")["id"].to_pylist()


def test_two_processes_give_the_same_bytes_as_one(
    world: Path, faulty: tuple[str, ...], prepared: Path, tmp_path: Path
) -> None:
    output = tmp_path / "prepared"
    output.mkdir()
    prepare(world, accept(world, tmp_path / "validated", without=faulty), output, SETTINGS, processes=2)
    assert hash_folder(output) == hash_folder(prepared)


def test_shards_that_did_not_change_are_not_prepared_again(tmp_path: Path) -> None:
    data, cache = chinese(tmp_path / "data"), tmp_path / "cache"
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    prepare(data, accept(data, tmp_path / "before"), tmp_path / "first", SETTINGS, cache=cache, processes=1)
    made = sorted((cache / "prepare_part").iterdir())
    assert len(made) == 6
    store.write_shards(data, "train", [store.row(id="new", image=picture(9))])
    store.write_manifest(data)
    after = accept(data, tmp_path / "after")
    prepare(data, after, tmp_path / "second", SETTINGS, cache=cache, processes=1)
    assert len(set((cache / "prepare_part").iterdir()) - set(made)) == 1
    assert (tmp_path / "second/test/part-00000/image.npy").samefile(tmp_path / "first/test/part-00000/image.npy")
    (tmp_path / "alone").mkdir()
    prepare(data, after, tmp_path / "alone", SETTINGS, processes=1)
    assert hash_folder(tmp_path / "alone") == hash_folder(tmp_path / "second")


def test_another_vocabulary_decodes_nothing_again_and_another_size_does(tmp_path: Path) -> None:
    data, cache = chinese(tmp_path / "data"), tmp_path / "cache"
    validated = accept(data, tmp_path / "validated")
    counts = []
    for change in ({}, {"vocabulary": 300}, {"image_size": 16}):
        output = tmp_path / f"prepared{len(counts)}"
        output.mkdir()
        prepare(data, validated, output, dataclasses.replace(SETTINGS, **change), cache=cache, processes=1)
        counts.append(len(list((cache / "prepare_part").iterdir())))
    assert counts == [6, 6, 12]


def test_arrays_are_written_as_long_as_they_take_no_more_than_the_limit(tmp_path: Path) -> None:
    data = chinese(tmp_path / "data")
    validated = accept(data, tmp_path / "validated")
    size = 12 * 48 * 48 * 3
    for limit, file in ((size, "image.npy"), (size - 1, "image.places.npy")):
        output = tmp_path / file
        output.mkdir()
        prepare(data, validated, output, SETTINGS, max_decoded_bytes=limit, processes=1)
        assert (output / "train/part-00000" / file).is_file()
        assert not (output / "train/part-00000" / "image.npy").is_file() or file == "image.npy"
        content = read_json(output / "prepared.json")
        assert content["modalities"]["image"] == 12
        assert ("shards" in content) == (file != "image.npy")


def test_texts_are_composed_and_names_left_as_they_are(tmp_path: Path) -> None:
    apart, composed = "cafe\u0301", "caf\u00e9"
    row = store.row(
        id=apart, group=apart, image=picture(1), captions=[{"text": apart, "lang": "fr"}], summary=apart,
        qa=[{"question": apart, "answers": [apart]}], labels={"drink": apart},
    )  # fmt: skip
    store.write_shards(tmp_path / "data", "train", [row])
    store.write_manifest(tmp_path / "data")
    output = tmp_path / "prepared"
    output.mkdir()
    prepare(tmp_path / "data", accept(tmp_path / "data", tmp_path / "validated"), output, SETTINGS, processes=1)
    (found,) = Corpus(output, "train").rows
    assert (found["id"], found["group"]) == (apart, apart)
    assert found["captions"] == [{"text": composed, "lang": "fr"}]
    assert found["qa"] == [{"question": composed, "answers": [composed]}]
    assert (found["summary"], found["transcript"], found["labels"]) == (composed, None, {"drink": composed})


def test_the_tokenizer_knows_only_the_texts_of_training(prepared: Path) -> None:
    corpus = Corpus(prepared, "train")
    tokenizer = Tokenizer.from_file(str(prepared / "tokenizer.json"))
    captions = [text for row in corpus.rows for text in store.row_texts(row)]
    assert any("circle" in text or "square" in text for text in captions)
    assert [tokenizer.token_to_id(name) for name in ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]")] == [0, 1, 2, 3, 4]
    assert tokenizer.get_vocab_size() <= SETTINGS.vocabulary


def test_an_accepted_sample_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store.write_shards(data, "train", [store.row(id="broken", image=picture(1)[:60])])
    store.write_manifest(data)
    output = tmp_path / "prepared"
    output.mkdir()
    with pytest.raises(ValueError, match="sample broken was accepted, but the image cannot be decoded"):
        prepare(data, accept(data, tmp_path / "validated"), output, SETTINGS, processes=1)


def test_nothing_accepted_is_said(tmp_path: Path) -> None:
    data = chinese(tmp_path / "data")
    validated = accept(data, tmp_path / "validated")
    schema = pq.read_schema(validated / "accepted.parquet")
    pq.write_table(pa.Table.from_pylist([], schema), validated / "accepted.parquet")
    with pytest.raises(ValueError, match="accepts no row"):
        prepare(data, validated, tmp_path, SETTINGS)


def test_every_text_of_a_row_is_offered_to_the_tokenizer() -> None:
    row = store.row(
        id="a", captions=[{"text": "one", "lang": "en"}], summary="two", transcript="three", speech_text="four",
        qa=[{"question": "five?", "answers": ["six", "seven"]}], labels={"kind": "not this"},
    )  # fmt: skip
    assert list(store.row_texts(row)) == ["one", "two", "three", "four", "five?", "six", "seven"]
    assert json.loads(row["meta"]) == {}


def test_the_texts_of_a_table_are_those_of_its_rows(prepared: Path) -> None:
    for split in store.SPLITS:
        table = store.read_table(prepared / split / "part-00000/rows.parquet")
        by_row = Counter(text for row in store.as_rows(table) for text in store.row_texts(row) if text)
        assert Counter(table_texts(table)) == by_row
        assert sum(by_row.values()) > 40


def test_pictures_come_out_square_and_at_the_size_set(tmp_path: Path) -> None:
    data = chinese(tmp_path / "data")
    output = tmp_path / "prepared"
    output.mkdir()
    settings = dataclasses.replace(SETTINGS, image_size=16)
    prepare(data, accept(data, tmp_path / "validated"), output, settings, processes=1)
    image = Corpus(output, "test").array("image", 3)
    assert image is not None
    assert image.shape == (16, 16, 3)
    assert Image.fromarray(image).getpixel((8, 8)) == (3, 3, 3)


def test_what_is_stored_of_a_resized_picture_is_what_a_saved_model_makes_of_its_file(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    content = png(np.asarray(Image.fromarray(coarse).resize((61, 40))))
    data, output, saved = (tmp_path / name for name in ("data", "prepared", "saved"))
    store.write_shards(data, "test", [store.row(id="one", image=content, captions=[tiny.caption("a")])])
    store.write_manifest(data)
    settings = dataclasses.replace(tiny.PREPARE, image_size=16, image_resize=20)
    output.mkdir()
    prepare(data, accept(data, tmp_path / "validated"), output, settings, processes=1)
    saved.mkdir()
    MultimodalModel(tiny.MODEL, Processor(tiny.processor().tokenizer, settings)).save(saved)
    resized = Image.fromarray(np.asarray(Image.open(io.BytesIO(content)))).resize((30, 20), Image.Resampling.BICUBIC)
    stored, kept = Corpus(output, "test").array("image", 0), MultimodalModel.load(saved).processor.prepare
    assert np.array_equal(stored, np.asarray(resized)[2:18, 7:23])
    assert np.array_equal(stored, decode("image", content, "one", kept))
