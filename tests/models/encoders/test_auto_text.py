"""Text networks with the weights and the tokenizer that their authors published (here small ones, drawn at random)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from mmcore.models.multimodal import MultimodalModel
from mmcore.models.processor import Processor
from mmcore.objectives._mixture import Mixture
from tests.data.test_tokenizer import KINDS, saved
from tests.models.encoders.test_backbone import READERS, with_encoders
from tests.models.test_encoders import LEARNING, SMALL
from tests.tiny import EVERY_OBJECTIVE, PREPARE, corpus, fitted

TEXTS = ["a big dog", "a", "a big , a big dog ."]


def published(kind: str, folder: Path) -> Any:
    """Tokenizer and weights in one folder, with places for more words than there are; returns the network."""
    words = len(AutoTokenizer.from_pretrained(saved(kind, folder))) + 3
    torch.manual_seed(3)
    if kind == "clip":
        config = AutoConfig.for_model(
            "clip", text_config={**SMALL, "vocab_size": words}, projection_dim=8,
            vision_config={**SMALL, "patch_size": 4, "image_size": 16},
        )  # fmt: skip
    else:
        ends = {"roberta": {"pad_token_id": 1}}.get(kind, {})
        config = AutoConfig.for_model(kind, vocab_size=words, **READERS[kind], **ends)
    network = AutoModel.from_config(config).eval()
    network.save_pretrained(folder)
    if kind == "clip":
        return network.text_model
    return network.get_encoder() if config.is_encoder_decoder else network


def built(folder: Path) -> MultimodalModel:
    text = {"name": "auto_text", "pretrained": str(folder), "config": None, **LEARNING}
    made = Processor.made_up(replace(PREPARE, tokenizer=str(folder)))
    return MultimodalModel(with_encoders(text=text), made).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_says_to_it_what_it_says_in_transformers(kind: str, tmp_path: Path) -> None:
    reference, theirs = published(kind, tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    model = built(tmp_path)
    encoder: Any = model.encoders["text"]
    values, mask = model.processor.texts(TEXTS)
    tokens, read = encoder(values, mask)
    for row, text in enumerate(TEXTS):
        alone = theirs(text, return_tensors="pt").input_ids
        # GPT-2 itself leaves the end of a text open; no word looks at what stands behind it.
        own = tokens[row, read[row]][: alone.shape[1]]
        expected = encoder.tokens(reference(input_ids=alone).last_hidden_state)[0]
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-5)
        assert int(read[row].sum()) == alone.shape[1] + (kind == "gpt2")


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_with_every_objective_of_texts_and_is_saved(kind: str, tmp_path: Path) -> None:
    for name in ("network", "model"):
        (tmp_path / name).mkdir()
    published(kind, tmp_path / "network")
    model, rows = built(tmp_path / "network"), corpus(clips=0)
    words = [EVERY_OBJECTIVE[name] for name in ("contrast", "caption", "masked_language", "language")]
    encoder: Any = model.encoders["text"]
    begun = encoder.embedding.weight.detach().clone()
    fitted(Mixture(words, rows), model, rows, tmp_path, steps=4)
    assert not torch.equal(encoder.embedding.weight, begun)
    model.save(tmp_path / "model")
    again = MultimodalModel.load(tmp_path / "model")
    pair = again.processor.texts(TEXTS)
    torch.testing.assert_close(again.embed("text", *pair), model.embed("text", *pair))
    assert again.generate({"image": (torch.zeros(1, 16, 16, 3, dtype=torch.uint8), torch.ones(1, dtype=torch.bool))})


def test_a_text_that_is_not_there_is_read_as_nothing(tmp_path: Path) -> None:
    published("t5", tmp_path)
    model = built(tmp_path)
    values, mask = model.processor.pad([[], model.processor.encode(["a dog"])[0]])
    embedded = model.embed("text", values, mask)
    assert embedded[0].tolist() == [0.0] * len(embedded[0])
    assert embedded[1].norm().item() == pytest.approx(1.0)
    assert model.embed("text", *model.processor.pad([[], []])).isfinite().all()


def test_without_its_tokenizer_the_way_to_it_is_named(tmp_path: Path) -> None:
    published("bert", tmp_path)
    text = {"name": "auto_text", "pretrained": str(tmp_path), "config": None, **LEARNING}
    says = rf"for other words: .* Set prepare\.tokenizer to '{tmp_path}'"
    with pytest.raises(ValueError, match=says):
        MultimodalModel(with_encoders(text=text), Processor.made_up(PREPARE))


def test_special_tokens_that_it_lacks_begin_as_the_mean_of_its_words(tmp_path: Path) -> None:
    reference = published("t5", tmp_path)
    model = built(tmp_path)
    encoder: Any = model.encoders["text"]
    vectors, known = encoder.embedding.weight, reference.get_input_embeddings().weight
    ids = model.processor.specials
    assert len(vectors) == model.processor.vocabulary
    assert torch.equal(vectors[ids.eos], known[ids.eos])
    for token in (ids.bos, ids.mask):
        torch.testing.assert_close(vectors[token], known.mean(0))
