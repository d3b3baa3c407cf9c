import torch

from mmcore.models.heads import Projection, Words


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
