import itertools

import numpy as np
import pytest

from mmcore.metrics import ranking


def sets(*groups):
    return [np.array(group, np.int64) for group in groups]


def test_the_rank_counts_the_candidates_that_score_higher():
    scores = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    assert ranking.ranks(scores, sets([0], [1], [2])).tolist() == [1, 2, 3]


def test_ties_count_against_so_a_constant_model_is_last():
    assert ranking.ranks(np.zeros((2, 5)), sets([0], [4])).tolist() == [5, 5]
    assert ranking.ranks(np.array([[0.5, 0.5, 0.1]]), sets([0])).tolist() == [2]


def test_any_positive_is_a_hit_and_positives_never_stand_in_each_others_way():
    scores = np.array([[0.9, 0.8, 0.7, 0.1]])
    assert ranking.ranks(scores, sets([2, 3])).tolist() == [3]
    assert ranking.ranks(scores, sets([0, 1, 2])).tolist() == [1]
    assert ranking.ranks(np.ones((1, 4)), sets([0, 1])).tolist() == [3]


def test_search_gives_the_same_in_blocks_of_any_size():
    random = np.random.default_rng(0)
    queries, candidates = random.normal(size=(37, 8)).astype("f4"), random.normal(size=(53, 8)).astype("f4")
    positives = sets(*([i, (i * 7) % 53] for i in range(37)))
    whole = ranking.search(queries, candidates, positives)
    for block in (1, 53 * 5, 53 * 36):
        part = ranking.search(queries, candidates, positives, block=block)
        assert part.ranks.tolist() == whole.ranks.tolist()
        assert part.top.tolist() == whole.top.tolist()
        assert part.top_scores.tobytes() == whole.top_scores.tobytes()
    scores = queries.astype("f8") @ candidates.astype("f8").T
    assert whole.top.tolist() == np.argsort(-scores, axis=1)[:, :10].tolist()


def test_equal_embeddings_tie_wherever_they_stand():
    random = np.random.default_rng(1)
    one = random.normal(size=(1, 96)).astype("f4")
    candidates = np.concatenate([random.normal(size=(70, 96)).astype("f4")] + [one] * 31)
    found = ranking.search(one, candidates, sets([100]))
    assert found.ranks.tolist() == [31]
    assert found.top[0].tolist() == list(range(70, 80))


def embeddings(kind, rows, seed):
    """Embeddings that make rounding and ties decide in different ways."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, 24)).astype("f4")
    if kind == "copies":  # of few different ones
        vectors = vectors[random.integers(0, 9, rows)]
    elif kind == "constant":
        vectors[:] = vectors[0]
    elif kind == "close":  # scores that differ in the last places only
        vectors = vectors[:1] + 1e-7 * vectors
    elif kind == "double":
        return vectors.astype("f8") / 3
    elif kind == "grid":  # equal scores of different vectors
        vectors = np.round(vectors)
    return vectors


@pytest.mark.parametrize("kind", ["normal", "copies", "constant", "close", "double", "grid"])
def test_both_ways_at_once_give_the_ranks_of_two_searches(kind):
    left, right = embeddings(kind, 530, 0), embeddings(kind, 1100, 0)  # several tiles, the last ones smaller
    random = np.random.default_rng(1)
    positives = [np.unique([row, *random.integers(0, 1100, row % 4)]) for row in range(530)]
    back: list[list[int]] = [[] for _ in right]
    for row, found in enumerate(positives):
        for place in found:
            back[place].append(row)
    wanted = [place for place, found in enumerate(back) if found]
    there, here = ranking.both_ways(left, right, positives)
    assert there.tolist() == ranking.search(left, right, positives).ranks.tolist()
    assert here[wanted].tolist() == ranking.search(right[wanted], left, sets(*(back[i] for i in wanted))).ranks.tolist()
    assert not here[[place for place, found in enumerate(back) if not found]].any()


def test_a_row_without_a_positive_has_no_rank_and_nothing_to_rank_is_no_error():
    there, back = ranking.both_ways(np.eye(3), np.eye(3), sets([0], [], [2]))
    assert (there.tolist(), back.tolist()) == ([1, 0, 1], [1, 0, 1])
    empty = ranking.both_ways(np.zeros((0, 3)), np.eye(3), [])
    assert (empty[0].tolist(), empty[1].tolist()) == ([], [0, 0, 0])


def test_what_cannot_be_ranked_both_ways_is_refused():
    with pytest.raises(ValueError, match="NaN or infinity"):
        ranking.both_ways(np.full((1, 2), np.nan), np.eye(2), sets([0]))
    with pytest.raises(ValueError, match="2 rows but 1 sets of positives"):
        ranking.both_ways(np.eye(2), np.eye(2), sets([0]))


def test_the_best_places_are_ordered_and_equal_scores_keep_the_candidates_order():
    scores = np.array([[0.1, 0.7, 0.7, 0.9, 0.7], [0, 0, 0, 0, 0]], "f4")
    assert ranking.best(scores, 3).tolist() == [[3, 1, 2], [0, 1, 2]]


def test_fewer_candidates_than_places_give_all_of_them():
    found = ranking.search(np.eye(2, dtype="f4"), np.eye(2, dtype="f4"), sets([0], [1]))
    assert found.top.tolist() == [[0, 1], [1, 0]]


def test_recall_and_median_count_places_from_one():
    ranks = np.array([1, 1, 2, 11])
    assert ranking.recall_at(ranks, 1) == 50
    assert ranking.recall_at(ranks, 10) == 75
    assert ranking.median_rank(ranks) == 1.5


def test_chance_is_the_share_of_orders_that_hit():
    assert ranking.chance_recall([1, 1], 500, 1) == pytest.approx(0.2)
    assert ranking.chance_recall([1], 500, 10) == pytest.approx(2)
    orders = list(itertools.permutations(range(6)))
    hits = sum(min(order.index(0), order.index(1)) < 3 for order in orders)
    assert ranking.chance_recall([2], 6, 3) == pytest.approx(100 * hits / len(orders))
    assert ranking.chance_recall([1], 3, 10) == 100
    assert ranking.chance_recall([1, 5], 10, 1) == pytest.approx(30)


def test_the_chance_of_the_median_rank_is_the_mean_place_of_the_best_positive():
    assert ranking.chance_median_rank([1], 9) == 5
    # Candidates 0 and 1 are right; the others before the first of them count.
    ranks = [1 + min(order.index(0), order.index(1)) for order in itertools.permutations(range(5))]
    assert ranking.chance_median_rank([2], 5) == pytest.approx(np.mean(ranks))


def test_random_scores_reach_the_chance_level():
    random = np.random.default_rng(2)
    found = ranking.ranks(random.normal(size=(4000, 50)), sets(*([i % 50, (i + 1) % 50] for i in range(4000))))
    assert ranking.recall_at(found, 5) == pytest.approx(ranking.chance_recall([2] * 4000, 50, 5), abs=2)


def test_positive_sets_hold_every_candidate_with_the_same_key():
    found = ranking.positive_sets(["a", "b", "a"], ["b", "a", "a", "c"])
    assert [places.tolist() for places in found] == [[1, 2], [0], [1, 2]]


def test_the_ceiling_gives_equal_queries_one_answer():
    # "red star" is asked for three pictures, one answer serves one of them; "nine" is alone.
    images = ["i0", "i1", "i2", "i3"]
    positives = sets([0], [1], [2], [3])
    assert ranking.ceiling(["red star", "red star", "red star", "nine"], images, positives) == 50
    # Where pictures 0 and 1 are both right for the same two queries, the answer serves both.
    assert ranking.ceiling(["red star", "red star", "red star", "nine"], images, sets([0, 1], [0, 1], [2], [3])) == 75


def test_the_ceiling_counts_equal_candidates_as_ties_against():
    # Caption 1 is also said of another picture, so it cannot come first; picture 0 has a caption of its own as well.
    captions = ["a nine", "a star", "a star"]
    assert ranking.ceiling(["i0", "i1"], captions, sets([0, 1], [2])) == 50
    assert ranking.ceiling(["i0"], ["a star", "a star"], sets([0, 1])) == 100


def test_no_model_beats_the_ceiling():
    random = np.random.default_rng(3)
    queries = [str(key) for key in random.integers(0, 6, 30)]
    positives = sets(*([i] for i in range(30)))
    content = {key: random.normal(size=30) for key in queries}
    best = max(
        ranking.recall_at(ranking.ranks(np.stack([content[key] + shift for key in queries]), positives), 1)
        for shift in random.normal(size=(200, 30)) * 5
    )
    assert best <= ranking.ceiling(queries, [f"i{i}" for i in range(30)], positives)


def test_scores_that_cannot_be_ranked_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        ranking.ranks(np.array([[np.nan, 1.0]]), sets([0]))
    with pytest.raises(ValueError, match="query 1 has no positive"):
        ranking.ranks(np.ones((2, 3)), sets([0], []))
    with pytest.raises(ValueError, match="2 queries but 1 sets"):
        ranking.ranks(np.ones((2, 3)), sets([0]))


def test_chance_counts_each_query_with_its_own_number_of_candidates():
    assert ranking.chance_recall([1, 2], [4, 8], 1) == pytest.approx(25)
    assert ranking.chance_recall([1, 1], [4, 2], 3) == pytest.approx(100 * (3 / 4 + 1) / 2)
    # 1 + (C - P) / (P + 1): 1 + 3 / 2 and 1 + 6 / 3.
    assert ranking.chance_median_rank([1, 2], [4, 8]) == pytest.approx(2.75)
