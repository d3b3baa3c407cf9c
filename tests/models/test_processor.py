import pytest

from mmcore.models.processor import Processor
from tests.tiny import PREPARE, processor

BOS, EOS = 1, 2


def test_texts_are_padded_to_the_longest_and_framed():
    ids, mask = processor().texts(["red", "red square"])
    assert ids.shape == (2, 4)
    assert ids[0].tolist()[::2] == [BOS, EOS]
    assert mask.sum(1).tolist() == [3, 4]
    assert ids[0, 3] == 0


def test_long_texts_are_cut_to_the_context_and_still_end():
    ids = processor().encode(["red " * 50])[0]
    assert len(ids) == PREPARE.context
    assert (ids[0], ids[-1]) == (BOS, EOS)
    assert len(processor().encode(["red " * 50], context=16)[0]) == 16


def test_decoding_returns_the_text_up_to_its_end():
    made = processor()
    ids, _ = made.texts(["a red square", "blue"])
    assert made.decode(ids[:, 1:]) == ["a red square", "blue"]


def test_an_empty_row_is_masked():
    ids, mask = processor().pad([[], [1, 2]])
    assert ids.tolist() == [[0, 0], [1, 2]]
    assert mask.tolist() == [[False, False], [True, True]]
    assert processor().pad([[]])[0].shape == (1, 1)


def test_a_missing_or_foreign_tokenizer_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the stage prepare first"):
        Processor.load(tmp_path, PREPARE)
    foreign = processor().tokenizer.to_str().replace("[MASK]", "<mask>")
    (tmp_path / "tokenizer.json").write_text(foreign)
    with pytest.raises(LookupError, match=r"tokenizer.json: the tokenizer has no token \[MASK\]"):
        Processor.load(tmp_path, PREPARE)
