import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.report.examples import described, galleries, language, overlap, sample_of
from mmcore.report.media import Pictures, Store
from mmcore.tasks import SCHEMA


@pytest.fixture(scope="module")
def store(whole):
    return Store(whole.data, pq.read_table(whole.validated / "accepted.parquet"))


def predicted(whole, task):
    return pq.read_table(whole.evaluation / "predictions" / f"{task}.parquet")


def test_a_gallery_shows_hits_and_the_worst_misses(whole, store):
    to_image, to_text = galleries(predicted(whole, "retrieval"), store, Pictures(10**7), 3)
    assert (to_image.direction, to_image.queries, to_image.pictured) == ("text_to_image", 12, True)
    assert [query.rank for query in to_image.found] == [1, 1, 1]
    assert [query.rank for query in to_image.missed] == [11, 8, 5]
    assert not to_text.pictured


def test_the_right_answer_is_marked_where_it_stands(whole, store):
    to_image, to_text = galleries(predicted(whole, "retrieval"), store, Pictures(10**7), 3)
    assert [answer.right for answer in to_image.found[0].candidates] == [True, False, False, False, False]
    assert [answer.right for answer in to_image.missed[2].candidates] == [False, False, False, False, True]
    assert to_image.missed[2].missed is None
    far = to_text.missed[0]
    assert not any(answer.right for answer in far.candidates)
    assert (far.missed.place, far.missed.right) == (11, True)
    assert far.missed.text == store.rows([far.id], ["captions"])[far.id]["captions"][0]["text"]


def test_a_sample_with_the_same_positives_is_right_too():
    class Two:
        def rows(self, ids, columns):
            return {id: {"positives": "same", "captions": [{"text": id}]} for id in ids}

    row = {"id": "q", "input_id": "a", "direction": "text_to_image", "query": "a", "references": ["a"], "rank": 1,
           "top": ["b", "a"], "top_scores": [1.0, 0.5]}  # fmt: skip
    (gallery,) = galleries(pa.Table.from_pylist([row], SCHEMA), Two(), Pictures(0), 1)
    assert [answer.right for answer in gallery.found[0].candidates] == [True, True]


def test_descriptions_go_from_the_closest_to_the_furthest(whole, store):
    shown = described(predicted(whole, "captioning"), store, Pictures(10**7), 6)
    overlaps = [one.overlap for one in shown]
    assert overlaps == sorted(overlaps, reverse=True)
    assert overlaps[0] == 1.0
    assert overlaps[-1] < 0.8
    assert all(one.picture for one in shown)


class Remarks:
    """Samples with a face, what is said about it, and a recording."""

    def rows(self, ids, columns):
        return {id: {"transcript": f"said of {id}", "speech_text": f"spoken {id}"} for id in ids}


def test_a_question_stands_with_its_answer_and_a_remark_with_its_picture():
    row = {"id": "a#0", "input_id": "a", "query": "what colour?", "prediction": "red", "references": ["red"]}
    (shown,) = described(pa.Table.from_pylist([row], SCHEMA), Remarks(), Pictures(0), 1)
    assert (shown.asked, shown.transcript) == ("what colour?", "said of a")


def test_a_recording_is_named_by_what_is_said_in_it():
    row = {"id": "q", "input_id": "a", "direction": "audio_to_image", "query": "a", "references": ["a"], "rank": 1,
           "top": ["a"], "top_scores": [1.0]}  # fmt: skip
    (gallery,) = galleries(pa.Table.from_pylist([row], SCHEMA), Remarks(), Pictures(0), 1)
    assert gallery.found[0].text == "spoken a"


def test_summaries_come_with_a_moving_picture_and_what_was_said(whole, store):
    shown = described(predicted(whole, "summarisation"), store, Pictures(10**7), 6)
    assert len(shown) == 4
    assert all(one.picture.moving for one in shown)
    assert shown[0].transcript.startswith("um so we see")


def test_words_that_no_reference_has_are_known():
    rows = [{"id": "a", "input_id": "a", "prediction": "A red, dog!", "references": ["a red cat", "big dog"]}]
    (one,) = described(pa.Table.from_pylist(rows, SCHEMA), Store(None, None), Pictures(0), 1)
    assert [word.known for word in one.prediction] == [True, True, True]
    rows[0]["prediction"] = "a blue dog"
    (one,) = described(pa.Table.from_pylist(rows, SCHEMA), Store(None, None), Pictures(0), 1)
    assert [word.known for word in one.prediction] == [True, False, True]


def test_overlap_counts_words_and_pairs_against_the_closest_reference():
    assert overlap("a b", ["a b"]) == 1.0
    assert overlap("b a", ["a b"]) == pytest.approx(2 * 2 / 6)
    assert overlap("a b", ["x y", "a b"]) == 1.0
    assert overlap("", ["a"]) == 0.0
    assert overlap("a", []) == 0.0
    assert overlap("红色", ["红色"]) == 1.0


@pytest.mark.parametrize(
    ("text", "name"), [("一只狗", "zh"), ("犬がいる", "ja"), ("개", "ko"), ("a dog", ""), ("ein Hündchen – 3", "")]
)
def test_the_language_is_told_by_its_signs(text, name):
    assert language(text) == name


def test_ids_of_captions_name_their_sample():
    assert sample_of("scene-7#2", "text") == ("scene-7", 2)
    assert sample_of("scene-7", "text") == ("scene-7", 0)
    assert sample_of("photo#one.jpg", "zh") == ("photo#one.jpg", 0)
    assert sample_of("clip#2", "video") == ("clip#2", 0)
