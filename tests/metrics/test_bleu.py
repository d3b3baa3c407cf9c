import gzip
import math

import pytest

from mmcore.metrics.bleu import corpus_bleu, tokenizer_for


def bleu(predictions, references, tokenize="13a", lowercase=False):
    return corpus_bleu(predictions, references, tokenize=tokenize, lowercase=lowercase).values


def test_equal_texts_score_one_hundred_in_every_order():
    values = bleu(["a red circle above a star"], [["a red circle above a star"]])
    assert values == pytest.approx({"bleu1": 100, "bleu2": 100, "bleu3": 100, "bleu4": 100})


def test_bleu_is_the_geometric_mean_of_the_clipped_precisions():
    # 5 words, 4 of them right; pairs 3 of 4; triples 2 of 3; quadruples 1 of 2; equal lengths, no penalty.
    values = bleu(["a red circle and stars"], [["a red circle and squares"]])
    assert values["bleu1"] == pytest.approx(80)
    assert values["bleu2"] == pytest.approx(100 * math.sqrt(4 / 5 * 3 / 4))
    assert values["bleu3"] == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3) ** (1 / 3))
    assert values["bleu4"] == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))


def test_a_prediction_that_is_too_short_pays_the_brevity_penalty():
    values = bleu(["a red circle and"], [["a red circle and a blue star"]])
    assert values["bleu4"] == pytest.approx(100 * math.exp(1 - 7 / 4))


def test_the_numbers_of_references_may_differ():
    predictions = ["the blue star", "a small nine"]
    uneven = [["a green star", "the blue star", "x y z"], ["a small nine"]]
    measured = corpus_bleu(predictions, uneven, tokenize="13a", lowercase=False)
    assert measured.values["bleu1"] == pytest.approx(100)
    assert "nrefs:var" in measured.signature


def test_an_empty_prediction_is_legal_and_costs_its_length():
    assert bleu(["", ""], [["a b"], ["c d"]]) == {"bleu1": 0, "bleu2": 0, "bleu3": 0, "bleu4": 0}
    values = bleu(["a b c d", ""], [["a b c d"], ["a b c d"]])
    assert values["bleu4"] == pytest.approx(100 * math.exp(1 - 8 / 4))


def test_case_and_chinese_follow_the_options_and_the_signature_names_them():
    assert bleu(["A Red Star Here"], [["a red star here"]])["bleu1"] == 0
    measured = corpus_bleu(["A Red Star Here"], [["a red star here"]], tokenize="13a", lowercase=True)
    assert measured.values["bleu4"] == pytest.approx(100)
    assert measured.signature.startswith("sacrebleu|nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert bleu(["红色的圆"], [["红色的星"]], tokenize="zh")["bleu1"] == pytest.approx(75)
    assert bleu(["红色的圆"], [["红色的星"]])["bleu1"] == 0


@pytest.mark.parametrize(
    ("languages", "tokenizer"),
    [({"en"}, "13a"), ({"de", "ru", "und"}, "13a"), ({"zh"}, "zh"), ({"en", "zh", "yue"}, "zh"), ({"ja"}, "char"),
     ({"ko", "en"}, "char"), ({"th", "zh"}, "char")],
)  # fmt: skip
def test_the_tokenizer_follows_from_the_languages(languages, tokenizer):
    assert tokenizer_for(languages) == tokenizer


def test_what_cannot_be_scored_is_said_in_one_sentence():
    with pytest.raises(ValueError, match="no BLEU tokenizer 'mosess'; choose one of: 13a"):
        bleu(["a"], [["a"]], tokenize="mosess")
    with pytest.raises(ValueError, match="no predictions to score"):
        bleu([], [])
    with pytest.raises(ValueError, match="prediction 1 has no reference"):
        bleu(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="2 predictions but 1 lists of references"):
        bleu(["a", "b"], [["a"]])


def test_values_equal_those_of_sacrebleus_own_tests(read, by_sample):
    for case in read("sacrebleu_expected.json")["corpus_bleu"]:
        if case["kwargs"].get("smooth_method", "exp") == "exp":
            tokenize = case["kwargs"].get("tokenize", "13a")
            values = bleu(case["hypotheses"], by_sample(case["references"]), tokenize)
            assert values["bleu4"] == pytest.approx(case["bleu"], abs=1e-6)


def test_lower_orders_equal_those_of_sacrebleu(read, by_sample):
    given = read("sacrebleu_expected.json")["max_ngram_order"]
    values = bleu(given["hypotheses"], by_sample(given["references"]))
    for case in given["cases"]:
        if case["max_ngram_order"] <= 4:
            assert values[f"bleu{case['max_ngram_order']}"] == pytest.approx(case["bleu_2_digits"], abs=0.005)


def test_values_equal_those_of_the_coco_caption_tools(read, by_sample):
    case = next(case for case in read("nlgeval_expected.json")["cases"] if case["id"] == "corpus_example")
    values = bleu(case["hypotheses"], by_sample(case["references"]), "none")
    for order in range(1, 5):
        assert values[f"bleu{order}"] / 100 == pytest.approx(case["expected"][f"Bleu_{order}"], abs=1e-5)


def test_values_of_real_captions_are_reproduced(read):
    rows = read("coco_fakecap_subset.jsonl")
    values = bleu([row["hypothesis"] for row in rows], [row["references"][:5] for row in rows], lowercase=True)
    assert values["bleu4"] == pytest.approx(read("coco_fakecap_scores.json")["bleu"], abs=1e-6)


def test_values_of_real_translations_are_reproduced(read, values_folder):
    name, expected = next(iter(read("wmt17_en_de/scores.json")["scores"].items()))
    predictions, references = (
        gzip.decompress((values_folder / "wmt17_en_de" / f"{file}.txt.gz").read_bytes()).decode().splitlines()
        for file in (name, "reference")
    )
    values = bleu(predictions, [[text] for text in references], "none")
    assert values["bleu4"] == pytest.approx(expected["bleu_tok_none"], abs=1e-6)
