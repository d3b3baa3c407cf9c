"""One file per encoder: its name is the file's name, its class is `Encoder`.

An encoder is made of its options and what the model gives it (`width`, `heads`, `dropout`, the `prepare` settings
that say how large its input is, `vocabulary` and `tokenizer`, the `image` encoder of the same model). Called with
`(values, mask)`, where the mask is true for what counts (a row that lacks the modality is false throughout), it
returns `(tokens [B, T, D], mask [B, T])`.
"""

from typing import Any

from mmcore.registry import Table

ENCODERS: Table[Any] = Table("encoder", folder="mmcore.models.encoders", attribute="Encoder")
