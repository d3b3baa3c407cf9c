"""How the tokens of an encoder become its vector in the shared space: the option `pool` of those that have a choice.

- `attention`: every head weighs all tokens (`heads.Projection`);
- `first`: the first token speaks for all, as in BERT, ViT and CLIP (Devlin et al. 2019). Wherever nobody asks for the
  other tokens (a contrast, a search), the last layer computes nothing for them: of L layers about 1 / L is saved, with
  the same vectors. The encoder is called with `first=True` then, and gives that token alone.
"""

ATTENTION, FIRST = "attention", "first"


def check_pool(pool: str) -> str:
    """`pool`; ValueError if there is no such way."""
    if pool not in (ATTENTION, FIRST):
        raise ValueError(f"pool is '{pool}'; choose {ATTENTION} or {FIRST}")
    return pool
