"""Any text network of transformers: BERT, RoBERTa, GPT-2, the encoder of T5 ..."""

from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mmcore.data.modalities.text import BOS, EOS, PAD
from mmcore.models.encoders._backbone import Backbone, beside, configured, network, stated
from mmcore.settings import PrepareSettings


class Encoder(Backbone):
    """Token ids [B, T] and mask [B, T] to tokens [B, T, D].

    `config` names the kind of network as `model_type` (bert, gpt2, t5 ...) and what it is made of, except for its
    vocabulary, which is the project's own. Of a network with encoder and decoder the encoder is used. With
    `pretrained`, its word vectors must be those of the project's tokenizer: a ValueError says if their number or a word
    that is named beside the weights (in tokenizer.json, vocab.json or vocab.txt) differs. Not checked are words where
    no such file is (a SentencePiece model alone), and how a text is cut into words.
    """

    def __init__(
        self, *, pretrained: str | None, config: Mapping[str, Any] | None, train: str, layer_decay: float, width: int,
        prepare: PrepareSettings, vocabulary: int, tokenizer: Tokenizer,
    ) -> None:  # fmt: skip
        def made(config: dict[str, Any]) -> Any:
            kind = str(config.get("model_type"))
            if kind not in CONFIG_MAPPING:
                raise LookupError(f"the config of the encoder auto_text needs a known 'model_type', not '{kind}'")
            # A saved model says its special tokens itself: RoBERTa counts places from that which pads.
            own = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
            sized = config | {"vocab_size": vocabulary}
            auto: Any = AutoModel
            return auto.from_config(configured(CONFIG_MAPPING[kind], sized, name="auto_text", own=own))

        backbone = network(AutoModel, made, pretrained=pretrained, config=config, name="auto_text", part=_reader)
        settings = backbone.config
        super().__init__(backbone, settings.hidden_size, width, train=train, layer_decay=layer_decay)
        if self.embedding.num_embeddings != vocabulary:
            raise ValueError(
                f"'{pretrained}' has word vectors for {self.embedding.num_embeddings} tokens, the project's tokenizer "
                f"has {vocabulary}: they do not belong together. Build the text encoder from 'config', or start from "
                "weights that were trained with this tokenizer"
            )
        if pretrained is not None:
            _compare_words(pretrained, tokenizer)
        longest, reach = max(prepare.context, prepare.transcript_context), _reach(backbone)
        if reach is not None and reach < longest:
            raise ValueError(f"prepare allows texts of {longest} tokens; the encoder auto_text reads {reach} at most")

    @property
    def embedding(self) -> nn.Embedding:
        """The word vectors."""
        return self.backbone.get_input_embeddings()  # type: ignore[no-any-return]

    def forward(self, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        # A text that is not there is read all the same, since a softmax over nothing is no number.
        read_BT = mask | ~mask.any(1, keepdim=True)
        return self.tokens(self.backbone(input_ids=values, attention_mask=read_BT.long()).last_hidden_state), mask


def _reader(network: Any) -> Any:
    """The part that reads, without what makes one vector of a text."""
    reader = network.get_encoder() if network.config.is_encoder_decoder else network
    if getattr(reader, "pooler", None) is not None:
        reader.pooler = None
    return reader


def _compare_words(pretrained: str, tokenizer: Tokenizer) -> None:
    """ValueError with the first token that is another word beside the weights of `pretrained` than of `tokenizer`."""
    for word, token in sorted(_words(pretrained).items(), key=lambda entry: entry[1]):
        own = tokenizer.id_to_token(token)
        if own != word:
            raise ValueError(
                f"'{pretrained}' has word vectors for other words: its token {token} is {word!r}, that of the "
                f"project's tokenizer is {own!r}. Build the text encoder from 'config', or start from weights that "
                "were trained with this tokenizer"
            )


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
