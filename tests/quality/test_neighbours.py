import numpy as np

from mmcore.quality.fingerprints import of_texts
from mmcore.quality.neighbours import close_hashes, close_signatures


def hashes(*values: int) -> np.ndarray:
    return np.array(values, np.uint64).view(np.int64)


def test_hashes_that_differ_in_a_few_bits_are_close():
    base = 0x0123_4567_89AB_CDEF
    few = base ^ (1 << 3) ^ (1 << 20) ^ (1 << 40) ^ (1 << 63)
    assert close_hashes(hashes(base, 0xFFFF_0000_FFFF_0000, few)).tolist() == [[0, 2]]


def test_one_part_may_differ_altogether():
    base = 0x0123_4567_89AB_CDEF
    assert close_hashes(hashes(base ^ 0xFFFF, base)).tolist() == [[0, 1]]
    assert close_hashes(hashes(base ^ 0xFFFF ^ (0x7F << 16), base)).tolist() == []


def test_every_pair_of_equal_hashes_is_found():
    assert close_hashes(hashes(5, 5, 5)).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_nothing_and_one_hash_have_no_pairs():
    assert close_hashes(hashes()).shape == (0, 2)
    assert close_hashes(hashes(1)).shape == (0, 2)


def test_close_pairs_are_found_among_many():
    rng = np.random.default_rng(0)
    many = rng.integers(-(2**63), 2**63 - 1, 20_000)
    copies = many[:200] ^ np.array(
        [(1 << int(a)) | (1 << int(b)) | (1 << int(c)) for a, b, c in rng.integers(0, 63, (200, 3))]
    )
    found = {tuple(pair) for pair in close_hashes(np.concatenate([many, copies])).tolist()}
    assert {(k, 20_000 + k) for k in range(200)} <= found
    assert len(found) < 300


def signatures(*texts: str) -> np.ndarray:
    return np.frombuffer(b"".join(of_texts([[text] for text in texts])), np.uint8).reshape(len(texts), -1)


def test_texts_of_one_normal_form_are_close_and_so_are_those_with_one_word_more():
    long = " ".join(f"word{k * k}" for k in range(100))
    texts = ("A dog runs.", "the cat sleeps", "a dog runs", long, long + " end", "another text altogether")
    assert close_signatures(signatures(*texts)).tolist() == [[0, 2], [3, 4]]
