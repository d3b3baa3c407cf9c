"""Any text network of transformers: BERT, RoBERTa, GPT-2, the encoder of T5 ..."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mmcore.data.modalities.text import BOS, EOS, PAD
from mmcore.models.encoders._backbone import Backbone, configured, network
from mmcore.settings import PrepareSettings


class Encoder(Backbone):
    """Token ids [B, T] and mask [B, T] to tokens [B, T, D].

    `config` names the kind of network as `model_type` (bert, gpt2, t5 ...) and what it is made of, except for its
    vocabulary, which is the project's own. Of a network with encoder and decoder the encoder is used. With
    `pretrained`, its word vectors must be those of the project's tokenizer: a ValueError says if they cannot be.
    """

    def __init__(
        self, *, pretrained: str | None, config: Mapping[str, Any] | None, train: str, layer_decay: float, width: int,
        prepare: PrepareSettings, vocabulary: int,
    ) -> None:  # fmt: skip
        def made(config: dict[str, Any]) -> Any:
            kind = str(config.get("model_type"))
            if kind not in CONFIG_MAPPING:
                raise LookupError(f"the config of the encoder auto_text needs a known 'model_type', not '{kind}'")
            own = {"vocab_size": vocabulary, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
            auto: Any = AutoModel
            return auto.from_config(configured(CONFIG_MAPPING[kind], config | own, name="auto_text"))

        backbone = network(AutoModel, made, pretrained=pretrained, config=config, name="auto_text", part=_reader)
        settings = backbone.config
        super().__init__(backbone, settings.hidden_size, width, train=train, layer_decay=layer_decay)
        if self.embedding.num_embeddings != vocabulary:
            raise ValueError(
                f"'{pretrained}' has word vectors for {self.embedding.num_embeddings} tokens, the project's tokenizer "
                f"has {vocabulary}: they do not belong together. Build the text encoder from 'config', or start from "
                "weights that were trained with this tokenizer"
            )
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


def _reach(reader: Any) -> int | None:
    """How long a text it can read, null for any length."""
    places: int | None = getattr(reader.config, "max_position_embeddings", None)
    for name, part in reader.named_modules():
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            return int(part.num_embeddings) - int(part.padding_idx) - 1  # RoBERTa counts from after its padding
    return places
