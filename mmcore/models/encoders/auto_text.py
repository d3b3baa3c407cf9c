"""Any text network of transformers: BERT, RoBERTa, GPT-2, the encoder of T5, the text tower of CLIP ..."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mmcore.data.tokenizer import SPECIALS, begins, specials
from mmcore.models.encoders._backbone import Backbone, beside, configured, network, stated
from mmcore.settings import PrepareSettings


class Encoder(Backbone):
    """Token ids [B, T] and mask [B, T] to tokens [B, T, D].

    `config` names the kind of network as `model_type` (bert, gpt2, t5 ...) and what it is made of, except for its
    vocabulary, which is the project's own. Of a network with encoder and decoder the encoder is used, of a model that
    embeds texts and media its text tower. With `pretrained`, its word vectors must be those of the project's tokenizer
    (`prepare.tokenizer`): a ValueError says if their number or a word that is named beside the weights (in
    tokenizer.json, vocab.json or vocab.txt) differs. Not checked are words where no such file is (a SentencePiece model
    alone), and how a text is cut into words. Special tokens that the network does not know begin as the mean of its
    word vectors; texts begin with [BOS] only for networks that were trained so.
    """

    def __init__(
        self, *, pretrained: str | None, config: Mapping[str, Any] | None, train: str, layer_decay: float, width: int,
        prepare: PrepareSettings, vocabulary: int, tokenizer: Tokenizer,
    ) -> None:  # fmt: skip
        ids = specials(tokenizer)

        def made(config: dict[str, Any]) -> Any:
            kind = str(config.get("model_type"))
            if kind not in CONFIG_MAPPING:
                raise LookupError(f"the config of the encoder auto_text needs a known 'model_type', not '{kind}'")
            # A saved model says its special tokens itself: RoBERTa counts places from that which pads.
            own = {"pad_token_id": ids.pad, "bos_token_id": ids.bos, "eos_token_id": ids.eos}
            sized = config | {"vocab_size": vocabulary}
            auto: Any = AutoModel
            return auto.from_config(configured(CONFIG_MAPPING[kind], sized, name="auto_text", own=own))

        backbone = network(AutoModel, made, pretrained=pretrained, config=config, name="auto_text", part=_reader)
        if pretrained is not None:
            _fit_words(backbone, pretrained, tokenizer, vocabulary)
        super().__init__(backbone, backbone.config.hidden_size, width, train=train, layer_decay=layer_decay)
        self.begins = begins(tokenizer)
        longest, reach = max(prepare.context, prepare.transcript_context), _reach(backbone)
        if reach is not None and reach < longest:
            raise ValueError(f"prepare allows texts of {longest} tokens; the encoder auto_text reads {reach} at most")

    @property
    def embedding(self) -> nn.Embedding:
        """The word vectors."""
        return self.backbone.get_input_embeddings()  # type: ignore[no-any-return]

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        # A network that has never seen [BOS] gets texts without it; its place stays empty.
        skipped = int(not self.begins and values.shape[1] > 1)
        mask = F.pad(mask[:, skipped:], (skipped, 0))
        # A text that is not there is read all the same, since a softmax over nothing is no number.
        read_BT = (mask | ~mask.any(1, keepdim=True))[:, skipped:].long()
        states_BTC = self.backbone(input_ids=values[:, skipped:], attention_mask=read_BT).last_hidden_state
        return self.tokens(F.pad(states_BTC, (0, 0, skipped, 0))), mask


def _reader(network: Any) -> Any:
    """The part that reads, without what makes one vector of a text."""
    reader = network.get_encoder() if network.config.is_encoder_decoder else getattr(network, "text_model", network)
    if getattr(reader, "pooler", None) is not None:
        reader.pooler = None
    return reader


def _fit_words(backbone: Any, pretrained: str, tokenizer: Tokenizer, vocabulary: int) -> None:
    """Give the network a word vector for each of the `vocabulary` tokens of `tokenizer` and no other: special tokens
    that it does not know get the mean of all, places without a word are left out. ValueError if the words are not those
    of the weights."""
    there, words = backbone.get_input_embeddings(), _words(pretrained)
    rows = there.num_embeddings
    advice = (
        f"Set prepare.tokenizer to '{pretrained}', build the text encoder from 'config', or start from weights that "
        "were trained with the project's tokenizer"
    )
    for word, token in sorted(words.items(), key=lambda entry: entry[1]):
        own = tokenizer.id_to_token(token)
        if own != word and own not in SPECIALS:
            raise ValueError(
                f"'{pretrained}' has word vectors for other words: its token {token} is {word!r}, that of the "
                f"project's tokenizer is {own!r}. {advice}"
            )
    unknown = set(specials(tokenizer)) - set(words.values()) if words else set()
    if rows + len(unknown) < vocabulary or not (words or rows == vocabulary):
        raise ValueError(
            f"'{pretrained}' has word vectors for {rows} tokens, the project's tokenizer has {vocabulary}: they do not "
            f"belong together. {advice}"
        )
    if unknown or rows != vocabulary:
        known_VC = there.weight.detach()
        vectors_VC = known_VC.mean(0).repeat(vocabulary, 1)
        taken = sorted(set(range(min(rows, vocabulary))) - unknown)
        vectors_VC[taken] = known_VC[taken]
        vectors = nn.Embedding(vocabulary, known_VC.shape[1], there.padding_idx, _weight=vectors_VC)
        backbone.set_input_embeddings(vectors)
        backbone.config.vocab_size = vocabulary


def _words(pretrained: str) -> dict[str, int]:
    """The token of each word that is named beside the weights of `pretrained`; nothing where none are."""
    whole = beside(pretrained, "tokenizer.json")
    if whole is not None:
        return Tokenizer.from_file(str(whole)).get_vocab()
    lines = beside(pretrained, "vocab.txt")
    if lines is not None:
        return {word: token for token, word in enumerate(lines.read_text(encoding="utf-8").split("\n")) if word}
    return stated(pretrained, "vocab.json")


def _reach(reader: Any) -> int | None:
    """How long a text it can read, null for any length."""
    places: int | None = getattr(reader.config, "max_position_embeddings", None)
    for name, part in reader.named_modules():
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            return int(part.num_embeddings) - int(part.padding_idx) - 1  # RoBERTa counts from after its padding
    return places
