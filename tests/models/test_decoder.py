import torch

from mmcore.models.decoder import DECODERS


def decoder(**options):
    torch.manual_seed(0)
    made = DECODERS.build(
        {"name": "cross_attention", "layers": 2}, width=16, heads=2, dropout=0.0, vocabulary=30, context=9, **options
    )
    with torch.no_grad():  # large weights, so that the choices differ from step to step
        for parameter in made.blocks.parameters():
            if parameter.ndim == 2:
                parameter.normal_(std=0.6)
    return made.eval()


def without_cache(made, memory, mask, first, last, tokens):
    """The same choices, computed from the whole text anew for every token."""
    ids = torch.full((len(memory), 1), first)
    for _ in range(tokens):
        chosen = made(ids, memory, mask)[:, -1].argmax(-1)
        ended = (ids[:, 1:] == last).any(1)
        ids = torch.cat([ids, chosen.masked_fill(ended, last)[:, None]], 1)
        if bool((ids[:, 1:] == last).any(1).all()):
            break
    return ids[:, 1:]


def test_generation_with_kept_keys_and_values_equals_generation_without():
    made = decoder()
    memory, mask = torch.randn(5, 6, 16), torch.rand(5, 6) < 0.8
    mask[:, 0] = True
    kept = made.generate(memory, mask, first=1, last=2, tokens=9)
    torch.testing.assert_close(kept, without_cache(made, memory, mask, 1, 2, 9))
    assert kept.shape[1] <= 9
    assert len(set(kept.flatten().tolist())) > 3


def test_nothing_follows_the_end():
    made = decoder()
    memory, mask = torch.randn(40, 6, 16), torch.ones(40, 6, dtype=torch.bool)
    for row in made.generate(memory, mask, first=1, last=2, tokens=9).tolist():
        if 2 in row:
            assert set(row[row.index(2) :]) == {2}


def test_a_token_does_not_see_what_comes_after_it():
    made, memory, mask = decoder(), torch.randn(1, 4, 16), torch.ones(1, 4, dtype=torch.bool)
    one, other = made(torch.tensor([[1, 7, 8]]), memory, mask), made(torch.tensor([[1, 7, 9]]), memory, mask)
    torch.testing.assert_close(one[:, :2], other[:, :2])


def test_generation_is_cut_at_the_context():
    made, memory, mask = decoder(), torch.randn(1, 4, 16), torch.ones(1, 4, dtype=torch.bool)
    assert made.generate(memory, mask, first=1, last=29, tokens=100).shape[1] <= 9
