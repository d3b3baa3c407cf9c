"""What a form may carry. `decode` here reads nothing: it gives back how many bytes it got."""

import contextlib
from collections.abc import Mapping

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from mmcore.serving.client import Sent, form
from mmcore.serving.uploads import Form, Part, Refusal, forms, read_form, sent_as
from mmcore.settings import ServeSettings

LIMITS = ServeSettings(
    host="127.0.0.1", port=3000, workers=1, threads=2, timeout_seconds=5.0, max_requests=4, max_batch=8,
    max_body_bytes=10_000, max_items=3, max_pixels=100, max_frames=4, max_seconds=1.0, max_characters=10,
    ask_below=0.0, ask_most=10, ask_bytes=10_000,
)  # fmt: skip
READS = ["image", "audio", "video", "sensor", "text"]
# A release that reads an own modality, too; its captions are of pictures and clips.
FORMS = forms(
    {"retrieval": READS, "captioning": READS, "summarisation": READS},
    {"mood": ["image", "transcript"], "events": ["question", "video"], "falls": ["sensor"]},
    {"image": [".png"], "audio": [".wav"], "video": [".gif"], "sensor": [".npy"]},
)


def decode(kind: str, data: bytes) -> np.ndarray:
    if data == b"broken":
        raise ValueError(f"the {kind} cannot be read")
    return np.full((1, 1, 3), len(data), np.uint8)


def read(path: str, fields: list[Sent]) -> list[Part]:
    content_type, body = form(fields)
    return send(path, content_type, body)


def send(path: str, content_type: str, body: bytes, among: Mapping[str, Form] = FORMS) -> list[Part]:
    async def run() -> list[Part]:
        limiter = anyio.CapacityLimiter(1)
        headers = Headers({"content-type": content_type})
        return await read_form(path, among[path], headers, body, limits=LIMITS, decode=decode, limiter=limiter)

    return anyio.run(run)


def refused(path: str, fields: list[Sent]) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        read(path, fields)
    return caught.value.status, caught.value.sentence


def test_parts_come_in_the_order_in_which_they_were_sent() -> None:
    parts = read("/embed", [("texts", "one"), ("images", ("a", b"12")), ("texts", "två")])
    assert [part.field for part in parts] == ["texts", "images", "texts"]
    assert [parts[0].item, parts[2].item] == [("text", "one"), ("text", "två")]
    assert isinstance(parts[1].item.value, np.ndarray)
    assert (parts[1].item.modality, parts[1].item.value[0, 0, 0]) == ("image", 2)


def test_an_address_in_place_of_a_file_is_refused() -> None:
    status, sentence = refused("/caption", [("images", "http://127.0.0.1/x.png")])
    assert (status, sentence) == (400, "images takes an uploaded file, not text or an address")


def test_a_file_in_place_of_a_text_is_refused() -> None:
    assert refused("/embed", [("texts", ("a.txt", b"hello"))]) == (400, "texts takes text, not a file")


@pytest.mark.parametrize("charset", ["undefined", "unicode_escape", "latin-1", '"utf-7"'])
def test_texts_are_utf_8_and_nothing_that_a_client_names(charset: str) -> None:
    content_type, body = form([("texts", "\\ud800")])
    with pytest.raises(Refusal, match="reads its texts as UTF-8") as caught:
        send("/embed", f"{content_type}; charset={charset}", body)
    assert caught.value.status == 415
    assert send("/embed", f"{content_type}; charset=UTF-8", body)[0].item.value == "\\ud800"


def test_what_cannot_be_decoded_is_named_by_its_place() -> None:
    fields: list[Sent] = [("images", ("a", b"fine")), ("images", ("b", b"broken"))]
    assert refused("/caption", fields) == (400, "images[1]: the image cannot be read")


def test_what_a_task_that_chooses_does_not_look_at_is_refused() -> None:
    image: Sent = ("image", ("a", b"1"))
    assert len(read("/choose", [("task", "mood"), image])) == 2
    assert len(read("/choose", [("task", "events"), ("clip", ("a", b"1")), ("question", "what?")])) == 3
    wrong = "/choose: send as task one of: mood, events, falls"
    assert refused("/choose", [image]) == refused("/choose", [("task", "colour"), image]) == (400, wrong)
    looks = "/choose: the task events looks at question and clip; send those, and nothing else"
    assert refused("/choose", [("task", "events")]) == refused("/choose", [("task", "events"), image]) == (400, looks)


def test_an_unknown_field_is_refused_with_those_there_are() -> None:
    status, sentence = refused("/caption", [("pictures", ("a", b"1"))])
    assert status == 400
    assert sentence == "/caption of this release has no field 'pictures'; send images (files) or clips (files)"


def test_a_modality_that_the_release_does_not_read_is_refused_with_those_that_it_does() -> None:
    made = forms({"retrieval": ["image", "text"]}, {}, {"image": [".png"]})
    assert list(made) == ["/embed", "/rank"]
    assert list(made["/rank"].fields) == ["image", "text", "images", "texts"]
    with pytest.raises(Refusal) as caught:
        send("/embed", *form([("audios", ("a", b"1"))]), among=made)
    assert caught.value.sentence == "/embed of this release has no field 'audios'; send images (files) or texts"


@pytest.mark.parametrize("query", READS)
@pytest.mark.parametrize("candidates", READS)
def test_whatever_is_read_is_a_query_and_a_candidate(query: str, candidates: str) -> None:
    def sent(modality: str, *, many: bool) -> Sent:
        return sent_as(modality, many=many), "red" if modality == "text" else ("a", b"12")

    parts = read("/rank", [sent(query, many=False), sent(candidates, many=True), sent(candidates, many=True)])
    assert [part.item.modality for part in parts] == [query, candidates, candidates]


def test_a_file_of_an_own_modality_is_described_by_its_suffixes() -> None:
    assert FORMS["/embed"].fields["sensors"].meaning == "sensor file (.npy)"
    assert read("/choose", [("task", "falls"), ("sensor", ("a", b"1"))])[1].item.modality == "sensor"


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("text", "red")],
        [("texts", "red"), ("texts", "blue")],
        [("text", "red"), ("images", ("a", b"1")), ("image", ("b", b"2"))],
        [("text", "red"), ("images", ("a", b"1")), ("audios", ("b", b"2"))],
    ],
)
def test_ranking_takes_one_query_and_candidates_of_one_kind(fields: list[Sent]) -> None:
    status, sentence = refused("/rank", fields)
    assert status == 400
    assert sentence == (
        "/rank: send one query (image, audio, clip, sensor or text) and candidates of one kind "
        "(images, audios, clips, sensors or texts)"
    )


def test_a_field_for_one_value_is_refused_twice() -> None:
    fields: list[Sent] = [("text", "red"), ("text", "blue"), ("images", ("a", b"1"))]
    assert refused("/rank", fields) == (400, "text can be sent only once")


def test_the_number_of_parts_is_bounded() -> None:
    status, sentence = refused("/embed", [("texts", "a")] * 4)
    assert (status, sentence) == (400, "4 parts are too many; send at most 3 in one request")
    assert refused("/embed", [("texts", "a")] * 40)[0] == 400


def test_the_length_of_texts_is_bounded_and_blank_ones_are_refused() -> None:
    assert refused("/embed", [("texts", "eleven char")])[1] == "texts[0] has 11 characters; at most 10 are read"
    assert refused("/embed", [("texts", "x" * 1000)])[0] == 400
    assert refused("/embed", [("texts", "fine"), ("texts", "  ")])[1] == "texts[1] is empty"


@pytest.mark.parametrize("content_type", ["", "application/json", "application/vnd.bentoml+pickle", "text/plain"])
def test_only_forms_are_taken(content_type: str) -> None:
    with pytest.raises(Refusal) as caught:
        send("/caption", content_type, b"http://127.0.0.1/x.png")
    assert caught.value.status == 415


def test_a_form_that_is_cut_off_is_refused() -> None:
    content_type, body = form([("images", ("a", b"1")), ("images", ("b", b"2"))])
    with pytest.raises(Refusal) as caught:
        send("/caption", content_type, body[:-30])
    assert caught.value.sentence == "the form is cut off: its closing boundary is missing"


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(sorted(FORMS)), body=st.binary(max_size=200), extra=st.text(max_size=20))
def test_no_bytes_whatsoever_raise_anything_but_a_refusal(path: str, body: bytes, extra: str) -> None:
    whole = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n' + body + b"\r\n--x--\r\n"
    for content in (body, b"--x\r\n" + body, whole[: len(whole) - len(body) // 2], whole):
        boundary = extra.encode("utf-8", "replace").decode("latin-1")
        for content_type in ("multipart/form-data; boundary=x", f"multipart/form-data; boundary={boundary}"):
            with contextlib.suppress(Refusal):
                send(path, content_type, content)
