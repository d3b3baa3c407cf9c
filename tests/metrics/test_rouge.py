import pytest

from mmcore.metrics.rouge import rouge, tokenizer_for


def values_of(predictions, references, tokenize="words"):
    return rouge(predictions, references, tokenize=tokenize).values


def test_f1_is_computed_from_overlap_and_longest_common_subsequence():
    # Prediction 4 words, reference 5; 4 common words, 2 common pairs (of 3 and 4), common subsequence of 3.
    values = values_of(["the ball moves left"], [["the ball left moves up"]])
    assert values["rouge1"] == pytest.approx(100 * 2 * 4 / 9)
    assert values["rouge2"] == pytest.approx(100 * 2 * 1 / 7)
    assert values["rougeL"] == pytest.approx(100 * 2 * 3 / 9)


def test_the_best_reference_of_each_sample_counts_and_samples_are_averaged():
    values = values_of(["a red star", "a blue star"], [["x y z", "a red star"], ["p q r"]])
    assert values == pytest.approx({"rouge1": 50, "rouge2": 50, "rougeL": 50})


def test_each_number_takes_the_reference_that_is_best_for_it():
    values = values_of(["a b c d"], [["d c b a", "a b x y"]])
    assert values["rouge1"] == pytest.approx(100)
    assert values["rouge2"] == pytest.approx(100 / 3)
    assert values["rougeL"] == pytest.approx(50)


def test_an_empty_prediction_scores_zero():
    assert values_of([""], [["a b"]]) == {"rouge1": 0, "rouge2": 0, "rougeL": 0}


def test_chinese_is_split_into_characters_and_other_words_stay_whole():
    assert values_of(["红色的圆"], [["红色的星"]], "characters")["rouge1"] == pytest.approx(75)
    assert values_of(["iPhone 手机"], [["iphone 电机"]], "characters")["rouge1"] == pytest.approx(100 * 2 / 3)
    assert values_of(["un été doux"], [["un ete doux"]], "characters")["rouge1"] == pytest.approx(100 * 2 / 3)
    with pytest.raises(ValueError, match=r"set evaluate\.rouge_tokenize: characters"):
        values_of(["红色的圆"], [["红色的星"]])


def test_english_is_split_as_everyone_does_and_everything_else_by_its_script():
    assert tokenizer_for(["un café"], {"en"}) == "words"
    assert tokenizer_for(["plain text", "more"], {"und", "de"}) == "words"
    assert tokenizer_for(["un café"], {"fr"}) == tokenizer_for(["a dog", "一只狗"], {"en", "zh"}) == "characters"
    text = ["A red-ish 9, it's HERE"]
    assert values_of(text, [["a red 9 here"]]) == values_of(text, [["a red 9 here"]], "characters")


def test_the_signature_names_method_tokenizer_and_version():
    signature = rouge(["a"], [["a"]], tokenize="words").signature
    assert signature.startswith("rouge-score|f1|refs:best|tok:words|version:")
    with pytest.raises(ValueError, match="no ROUGE tokenizer 'chars'; choose one of: words, characters"):
        values_of(["a"], [["a"]], "chars")


def test_values_equal_those_of_rouge_1_5_5(read):
    cases = [case for case in read("rouge155_expected.json")["cases"] if not case.get("use_stemmer")]
    checked = 0
    for case in cases:
        if case["metric"] in ("rouge1", "rouge2", "rougeL"):
            values = values_of([case["prediction"]], [[case["target"]]])
            assert values[case["metric"]] / 100 == pytest.approx(case["fmeasure"], abs=1e-4)
            checked += 1
    assert checked >= 3


def test_values_of_real_captions_are_reproduced(read):
    rows = read("coco_fakecap_subset.jsonl")
    values = values_of([row["hypothesis"] for row in rows], [row["references"] for row in rows])
    expected = read("coco_fakecap_scores.json")["rougeL_f_max_over_refs_mean"]
    assert values["rougeL"] / 100 == pytest.approx(expected, abs=1e-6)
