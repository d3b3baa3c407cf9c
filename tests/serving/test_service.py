"""The service in this process: routing, middleware and batching are BentoML's own, no server is started."""

import importlib.util
import io
import json
import re
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from mmcore.data.modalities import MODALITIES, UNLIMITED
from mmcore.models.multimodal import MultimodalModel
from mmcore.serving.client import Client, Sent, form
from mmcore.workspace import read_json, write_json
from tests import tiny
from tests.conftest import ROOT
from tests.serving.conftest import World, apng, noise, png, wav

# What BentoML and Starlette warn about themselves.
pytestmark = [pytest.mark.bento, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    from mmcore.serving.service import make_service

    with TestClient(make_service(world.release).to_asgi()) as client:
        yield client


def post(client: TestClient, path: str, fields: list[Sent], **headers: str) -> Any:
    content_type, body = form(fields)
    return client.post(path, content=body, headers={"Content-Type": content_type, **headers})


def test_images_and_texts_get_vectors_of_length_one(client: TestClient) -> None:
    answer = post(client, "/embed", [("texts", "red"), ("images", ("a.png", png(tiny.picture("red", "left"))))])
    assert answer.status_code == 200
    assert np.linalg.norm(np.array(answer.json()), axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_images_are_ranked_for_a_text_and_texts_for_an_image(client: TestClient) -> None:
    images = [("images", (colour, png(tiny.picture(colour, "left")))) for colour in tiny.COLOURS]
    answer = post(client, "/rank", [("text", "red"), *images]).json()
    assert answer["order"] == sorted(range(3), key=lambda place: -answer["scores"][place])
    answer = post(client, "/rank", [("image", images[0][1]), ("texts", "red"), ("texts", "blue")]).json()
    assert sorted(answer["order"]) == [0, 1]


def tone(pitch: int, seconds: float = 0.5) -> bytes:
    return wav(0.5 * np.sin(np.arange(int(8000 * seconds)) * 2 * np.pi * pitch / 8000))


def test_recordings_get_the_vectors_that_the_model_gives_them(client: TestClient, world: World) -> None:
    sounds = [tone(pitch, seconds) for pitch, seconds in ((300, 0.3), (900, 0.8), (1800, 0.5))]
    answer = post(client, "/embed", [("audios", ("a.wav", sound)) for sound in sounds])
    assert answer.status_code == 200, answer.text
    model, audio = MultimodalModel.load(world.tasks / "retrieval"), MODALITIES["audio"]()
    for sound, vector in zip(sounds, answer.json(), strict=True):
        bands = torch.from_numpy(audio.transform(audio.decode(sound, UNLIMITED), world.settings.prepare))[None]
        with torch.inference_mode():
            own = model.embed("audio", bands, torch.ones(bands.shape[:2], dtype=torch.bool))
        assert vector == pytest.approx(own[0].tolist(), abs=1e-5)


def test_a_recording_is_a_query_and_a_candidate_of_all_that_is_embedded(client: TestClient) -> None:
    image, clip = png(tiny.picture("red", "left")), apng(tiny.clip(1)["video"])
    two: dict[str, list[Any]] = {
        "texts": ["red", "a blue one"],
        "images": [("a", image), ("b", png(tiny.picture("blue", "right")))],
        "clips": [("a", clip), ("b", apng(tiny.clip(2)["video"]))],
        "audios": [("a", tone(300)), ("b", tone(1800))],
    }
    vectors = {name: post(client, "/embed", [(name, one) for one in both]).json() for name, both in two.items()}
    pairs = [("audio", name) for name in two] + [(name.removesuffix("s"), "audios") for name in two]
    for query, candidates in pairs:
        fields = [(query, two[f"{query}s"][0]), *((candidates, one) for one in two[candidates])]
        answer = post(client, "/rank", fields).json()
        likeness = np.array(vectors[candidates]) @ np.array(vectors[f"{query}s"][0])
        assert answer["scores"] == pytest.approx(likeness.tolist(), abs=1e-5), (query, candidates)
        assert answer["order"] == np.argsort(-likeness).tolist()


def test_a_recording_that_is_none_is_cut_off_or_too_long_is_refused_by_its_place(
    client: TestClient, world: World
) -> None:
    seconds, rate = int(world.settings.serve.max_seconds), 8000
    header = bytearray(tone(300))
    header[40:44] = struct.pack("<I", 2 * rate * (seconds + 1))
    image = png(tiny.picture("red", "left"))
    for content, sentence in (
        (tone(300)[:3000], "the audio is cut off after 0.2 seconds: its header promises more"),
        (tone(300)[:30], "the audio cannot be decoded: it has no samples (WAV without a data chunk)"),
        (bytes(header), "the audio is cut off after 0.5 seconds: its header promises more"),
        (wav(np.zeros(rate * (seconds + 1))), f"the audio lasts {seconds + 1}.0 seconds, more than {seconds}"),
        (image, "the audio is of no known kind: neither WAV nor Ogg, FLAC, MP3, MP4, Matroska or AVI"),
        (b"", "the audio is empty (0 bytes)"),
    ):
        sent: list[Sent] = [("audios", ("a.wav", tone(300))), ("audios", ("b.wav", content))]
        answer = post(client, "/embed", sent)
        assert (answer.status_code, answer.json()) == (400, {"error": f"audios[1]: {sentence}"})
        answer = post(client, "/rank", [("audio", ("b.wav", content)), ("texts", "red")])
        assert (answer.status_code, answer.json()) == (400, {"error": f"audio: {sentence}"})
    answer = post(client, "/embed", [("images", ("a.png", tone(300)))])
    assert answer.json() == {"error": "images[0]: the image cannot be read: unknown or broken format"}
    most = world.settings.serve.max_items
    answer = post(client, "/embed", [("audios", ("a.wav", tone(300)))] * (most + 1))
    assert answer.json()["error"].startswith(f"{most + 1} parts are too many")
    answer = post(client, "/embed", [("audios", "http://127.0.0.1:1/a.wav")])
    assert answer.json() == {"error": "audios takes an uploaded file, not text or an address"}


def test_a_class_is_chosen_for_what_is_sent(client: TestClient) -> None:
    image = ("image", ("a", png(tiny.picture("red", "left"))))
    (answer,) = post(client, "/choose", [("task", "where"), image, ("text", "red")]).json()
    assert set(answer["classes"]) == {"left", "right"}
    assert sum(answer["classes"].values()) == pytest.approx(1)
    assert post(client, "/choose", [("task", "captioning"), image]).status_code == 400


def test_a_recording_is_heard_and_one_that_is_none_or_too_long_refused(client: TestClient, world: World) -> None:
    def heard(content: bytes) -> Any:
        return post(client, "/choose", [("task", "heard"), ("audio", ("a", content))])

    (answer,) = heard(wav(np.zeros(4000))).json()
    assert set(answer["classes"]) == {"left", "right"}
    seconds = int(world.settings.serve.max_seconds)
    for content, sentence in (
        (b"nothing", "audio: the audio is of no known kind"),
        (wav(np.zeros(8000 * (seconds + 1))), f"audio: the audio lasts {seconds + 1}"),
    ):
        refused = heard(content)
        assert refused.status_code == 400, refused.text
        assert sentence in refused.text


def test_captions_and_summaries_are_texts(client: TestClient) -> None:
    image, clip = png(tiny.picture("red", "left")), apng(tiny.clip(1)["video"])
    assert [type(text) for text in post(client, "/caption", [("images", ("a", image))] * 2).json()] == [str, str]
    assert [type(text) for text in post(client, "/caption", [("clips", ("a", clip))]).json()] == [str]
    assert len(post(client, "/summarise", [("clip", ("a", clip)), ("transcript", "well")]).json()) == 1


def test_the_identity_names_what_runs(client: TestClient, world: World) -> None:
    identity = client.get("/identity").json()
    assert identity["model_hash"] == world.model_hash
    assert identity["tasks"] == world.settings.tasks
    assert set(identity["versions"]) == {
        "python", "mmcore", "bentoml", "numpy", "pillow", "safetensors", "tokenizers", "torch"
    }  # fmt: skip


@pytest.mark.parametrize(("path", "word"), [("/", "Summarise"), ("/docs", "swagger-ui"), ("/docs.json", "/caption")])
def test_pages_are_there(client: TestClient, path: str, word: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert word in answer.text


def test_the_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/", "/docs"):
        answer = client.get(path)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "https://" not in answer.text


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_is_said(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_the_api_is_described_as_it_is(client: TestClient) -> None:
    described = client.get("/docs.json").json()["paths"]["/rank"]["post"]["requestBody"]["content"]
    properties = described["multipart/form-data"]["schema"]["properties"]
    assert properties["images"]["items"] == {"type": "string", "format": "binary"}
    assert properties["text"]["type"] == "string"
    assert set(properties) == {f"{name}{s}" for name in ("image", "audio", "clip", "text") for s in ("", "s")}


# Hostile uploads ----------------------------------------------------------------------------------------------------


def bomb(side: int) -> bytes:
    """A small PNG that says it has side x side pixels, and has them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(64)).save(file, "JPEG")
    return file.getvalue()


HOSTILE = {
    "bomb of 13000 x 13000": bomb(13000),
    "truncated JPEG": jpeg()[:900],
    "truncated PNG": png(noise(64))[:900],
    "nothing": b"",
    "a text": b"hello, I am a text",
    "an address": b"http://127.0.0.1:1/x.png",
    "a drawing that refers to a file": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "a header alone": b"\x89PNG\r\n\x1a\n",
    "a pickle": b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00.",
}


@pytest.mark.parametrize("path", ["/caption", "/embed"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused_in_one_sentence(client: TestClient, path: str, name: str) -> None:
    before = psutil.Process().memory_info().rss
    answer = post(client, path, [("images", ("a.png", HOSTILE[name]))])
    assert answer.status_code == 400
    (sentence,) = answer.json().values()
    assert sentence.startswith("images[0]: the image")
    assert "\n" not in sentence
    assert "/tmp" not in sentence
    assert psutil.Process().memory_info().rss - before < 64 << 20


def test_one_bad_image_does_not_spoil_the_others_batch(client: TestClient) -> None:
    good = ("images", ("a", png(tiny.picture("red", "left"))))
    assert post(client, "/caption", [good, ("images", ("b", b"bad"))]).status_code == 400
    assert post(client, "/caption", [good]).status_code == 200


def test_a_file_is_read_by_its_content_whatever_it_is_called(client: TestClient) -> None:
    image = png(tiny.picture("red", "left"))
    assert post(client, "/caption", [("images", ("../../etc/passwd", image))]).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/vnd.bentoml+pickle", "text/plain", "image/png"]
)
def test_another_content_type_is_refused(client: TestClient, content_type: str) -> None:
    body = json.dumps({"items": ["http://127.0.0.1:1/x.png"]})
    answer = client.post("/caption", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 415


def test_a_huge_body_is_refused(client: TestClient, world: World) -> None:
    most = world.settings.serve.max_body_bytes
    assert post(client, "/caption", [("images", ("a", bytes(most)))]).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(most // 10)

    assert client.post("/caption", content=chunks()).status_code == 413


def test_a_key_from_the_environment_is_what_the_guard_asks_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmcore.serving.service import make_service

    for value, key in (("secret", "secret"), ("", None)):
        monkeypatch.setenv("MMCORE_API_KEY", value)
        ((middleware, options),) = make_service(world.release).middlewares
        assert (middleware.__name__, options["key"]) == ("Guard", key)


def test_a_release_without_a_task_has_no_endpoint_for_it(world: World, tmp_path: Path) -> None:
    from mmcore.serving.service import make_service

    shutil.copytree(world.release, tmp_path / "release")
    identity = read_json(tmp_path / "release" / "identity.json")
    write_json(tmp_path / "release" / "identity.json", {**identity, "reads": {"captioning": ["image"]}, "chooses": {}})
    service = make_service(tmp_path / "release")
    assert list(service.apis) == ["caption"]
    assert list(service.middlewares[0][1]["forms"]) == ["/caption"]


class Asked(Client):
    """The client that people use, asking the service in this process."""

    def __init__(self, client: TestClient) -> None:
        super().__init__("127.0.0.1", 0)
        self._client = client

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *,
        seconds: float = 60.0,
    ) -> tuple[int, bytes]:  # fmt: skip
        answer = self._client.request(method, path, content=body, headers=headers)
        return answer.status_code, answer.content


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module of what docs/recipes.md defines; its last lines, which ask a running service, are left out."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    path = tmp_path_factory.mktemp("recipes") / "recipes_of_the_docs.py"
    path.write_text("\n\n".join(block for block in blocks if not block.startswith("assistant")))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_assistant_finds_the_picture_and_answers_about_it_or_passes_on(
    client: TestClient, recipes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Asked(client)
    for colour in tiny.COLOURS:
        (tmp_path / f"{colour}.png").write_bytes(png(tiny.picture(colour, "left")))
    assistant = recipes.Assistant(tmp_path, service)
    found = assistant.find("a red square")
    ranked = service.post("/rank", [("text", "a red square"), *(("images", one) for one in assistant.pictures)])
    assert found == sorted(f"{colour}.png" for colour in tiny.COLOURS)[ranked["order"][0]]
    image = ("image", (found, (tmp_path / found).read_bytes()))
    [told] = service.post("/choose", [("task", "questions"), ("question", "which colour is it?"), image])
    for sure, said in ((0.0, told["answer"]), (1.1, "I am not sure: a colleague will look at it.")):
        monkeypatch.setattr(recipes, "SURE", sure)
        assert assistant.answer("which colour is it?") == said


def test_a_clip_is_called_unusual_or_not(client: TestClient, recipes: Any) -> None:
    service, clip = Asked(client), ("clip.png", apng(tiny.clip(1)["video"]))
    [told] = service.post("/choose", [("task", "anomalies"), ("clip", clip)])
    assert recipes.unusual(clip, service) == (told["answer"] == "unusual")
    assert set(told["classes"]) == {"usual", "unusual"}


@pytest.mark.parametrize(
    ("field", "usual", "odd"),
    [
        ("image", png(tiny.picture("red", "left", 8)), png(255 - tiny.picture("red", "left", 8))),
        ("audio", wav(0.5 * np.sin(np.arange(900) * 0.25)), wav(np.random.default_rng(0).uniform(-1, 1, 900))),
        ("text", "a red square on the left", "ვგქ ჰჟრ წქვ"),
    ],
)
def test_what_is_unlike_all_that_was_seen_is_called_unusual(
    client: TestClient, recipes: Any, field: str, usual: Any, odd: Any
) -> None:
    def asked(content: Any) -> Any:
        sent = (field, content if field == "text" else ("a", content))
        [told] = Asked(client).post("/choose", [("task", f"odd_{field}"), sent])
        assert recipes.unlike(f"odd_{field}", *sent, Asked(client)) == (told["answer"] == "unusual")
        return told

    assert asked(odd)["answer"] == "unusual"
    # Eight samples are all that it remembers, so much is unusual to it; but not equally.
    assert asked(odd)["classes"]["usual"] < asked(usual)["classes"]["usual"]
