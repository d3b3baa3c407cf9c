import gc

import pytest
import torch

from mmcore.models.decoder import DECODERS
from mmcore.models.products import _TURNED


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


@pytest.mark.parametrize("change", ["in place", "loaded", "another tensor"])
def test_what_is_kept_of_weights_that_do_not_learn_follows_them(change):
    made, other = decoder().requires_grad_(False), decoder()
    with torch.no_grad():
        for parameter in other.blocks.parameters():
            parameter.normal_(std=0.6)
    memory, mask = torch.randn(1, 6, 16), torch.ones(1, 6, dtype=torch.bool)
    before, wanted = (one.generate(memory, mask, first=1, last=2, tokens=9) for one in (made, other))
    assert torch.equal(made.generate(memory, mask, first=1, last=2, tokens=9), before)
    assert not torch.equal(before, wanted)
    for parameter, its in zip(made.parameters(), other.parameters(), strict=True):
        if change == "in place":
            parameter.mul_(0).add_(its)
        elif change == "another tensor":
            parameter.data = its.detach().clone()
    if change == "loaded":
        made.load_state_dict(other.state_dict())
    assert torch.equal(made.generate(memory, mask, first=1, last=2, tokens=9), wanted)


def test_what_is_kept_of_weights_goes_with_them():
    made, before = decoder().requires_grad_(False), len(_TURNED)
    made.generate(torch.randn(1, 6, 16), torch.ones(1, 6, dtype=torch.bool), first=1, last=2, tokens=9)
    assert len(_TURNED) > before
    del made
    gc.collect()
    assert len(_TURNED) == before


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


def every_text(made, memory, mask, tokens):
    """The mean log-probability of every text that ends within `tokens` or fills them, best first."""
    found = []

    def go_on(text, total):
        logits = made(torch.tensor([[1, *text]]), memory, mask)[0, -1].log_softmax(-1)
        for word in range(len(logits)):
            whole, score = [*text, word], total + float(logits[word].detach())
            if word == 2 or len(whole) == tokens:
                found.append((score / len(whole), whole))
            else:
                go_on(whole, score)

    go_on([], 0.0)
    return sorted(found, reverse=True)


def small(seed):
    torch.manual_seed(seed)
    made = DECODERS.build(
        {"name": "cross_attention", "layers": 1}, width=16, heads=2, dropout=0.0, vocabulary=5, context=9
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made.eval(), torch.randn(1, 3, 16), torch.ones(1, 3, dtype=torch.bool)


def test_enough_beams_find_the_best_of_all_texts():
    for seed in range(8):
        made, memory, mask = small(seed)
        found = made.generate(memory, mask, first=1, last=2, tokens=3, beams=125)[0].tolist()
        best = every_text(made, memory, mask, 3)[0][1]
        assert found[: len(best)] == best, seed


def test_each_row_has_beams_of_its_own():
    made = decoder()
    memory, mask = torch.randn(5, 6, 16), torch.ones(5, 6, dtype=torch.bool)
    together = made.generate(memory, mask, first=1, last=2, tokens=9, beams=3)
    for row in range(5):
        alone = made.generate(memory[row : row + 1], mask[row : row + 1], first=1, last=2, tokens=9, beams=3)
        width = min(alone.shape[1], together.shape[1])
        assert together[row, :width].tolist() == alone[0, :width].tolist()


def test_a_prefix_is_gone_on_from_and_not_repeated():
    made = decoder()
    memory, mask = torch.randn(4, 6, 16), torch.ones(4, 6, dtype=torch.bool)
    prefix = torch.tensor([[7, 8]] * 4)
    for beams in (1, 3):
        found = made.generate(memory, mask, first=1, last=2, tokens=5, beams=beams, prefix_BP=prefix)
        assert found.shape[1] <= 5
        if beams == 1:
            ids = torch.cat([torch.tensor([[1]] * 4), prefix], 1)
            torch.testing.assert_close(found[:, 0], made(ids, memory, mask)[:, -1].argmax(-1))


def test_a_prefix_that_fills_the_context_is_refused():
    made, memory, mask = decoder(), torch.randn(1, 4, 16), torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="leaves no place"):
        made.generate(memory, mask, first=1, last=2, tokens=5, prefix_BP=torch.ones(1, 9, dtype=torch.long))
