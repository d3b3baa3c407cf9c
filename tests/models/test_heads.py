import pytest
import torch

from mmcore.models.heads import HEADS, Projection, Words


def test_vectors_have_length_one_and_absent_rows_are_zero():
    torch.manual_seed(0)
    head = Projection(8, 2, 5)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    vectors = head(torch.randn(2, 3, 8), mask)
    torch.testing.assert_close(vectors.norm(dim=1), torch.tensor([1.0, 0.0]))


def test_padding_does_not_change_a_vector():
    torch.manual_seed(0)
    head, tokens = Projection(8, 2, 5), torch.randn(1, 3, 8)
    short = head(tokens, torch.ones(1, 3, dtype=torch.bool))
    longer = torch.cat([tokens, torch.randn(1, 4, 8)], 1)
    long = head(longer, torch.tensor([[True] * 3 + [False] * 4]))
    torch.testing.assert_close(short, long)


def test_words_score_every_entry_of_the_vocabulary():
    head = Words(8, 11, 8)
    assert head(torch.randn(2, 3, 8), torch.nn.Embedding(11, 8)).shape == (2, 3, 11)


def test_votes_are_the_weighted_mean_of_the_probabilities_that_those_present_give():
    head, given = voting("mean")
    expected = torch.tensor(
        [
            [0.25 * 0.5 + 0.75 * 0.1, 0.25 * 0.25 + 0.75 * 0.1, 0.25 * 0.25 + 0.75 * 0.8],
            [0.25, 0.5, 0.25],
            [0.1, 0.1, 0.8],
        ]
    )
    torch.testing.assert_close(head(given).exp(), expected)


def test_the_product_of_votes_has_twice_the_shares_as_exponents():
    head, given = voting("product")
    both = torch.tensor([0.5**0.5 * 0.1**1.5, 0.25**0.5 * 0.1**1.5, 0.25**0.5 * 0.8**1.5])
    expected = torch.stack([both / both.sum(), torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.1, 0.1, 0.8])])
    torch.testing.assert_close(head(given).exp(), expected)
    with torch.no_grad():
        head.trust.zero_()
    plain = torch.tensor([0.5 * 0.1, 0.25 * 0.1, 0.25 * 0.8])
    torch.testing.assert_close(head(given).exp()[0], plain / plain.sum())


def test_a_rule_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="the rule of votes is 'most'; choose mean or product"):
        HEADS.build({"name": "votes", "inputs": ["text"], "classes": ["cat"], "rule": "most"}, width=2)


def voting(rule):
    """A head of which a token is the vector of its modality, and three rows: both modalities, text, image."""
    spec = {"name": "votes", "inputs": ["text", "image"], "classes": ["cat", "dog", "cow"], "rule": rule}
    head = HEADS.build(spec, width=2)
    for name in ("text", "image"):
        head.pool.norms[name] = torch.nn.Identity()  # so that a single token is the modality's vector
        torch.nn.init.zeros_(head.out[name].bias)
    with torch.no_grad():
        head.out["text"].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).log1p())
        head.out["image"].weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0], [7.0, 1.0]]).log1p())
        head.trust.copy_(torch.tensor([1.0, 3.0]).log())
    # Of the token (1, 0) the text makes logits (ln 2, 0, 0), the image (0, 0, ln 8); of (0, 1) (0, ln 2, 0) and
    # (0, 0, ln 2). Trust is 1 to 3, so the shares are a quarter and three quarters where both are there.
    first, second = [1.0, 0.0], [0.0, 1.0]
    given = {
        "text": (torch.tensor([[first], [second], [first]]), torch.tensor([[True], [True], [False]])),
        "image": (torch.tensor([[first], [second], [first]]), torch.tensor([[True], [False], [True]])),
    }
    return head, given
