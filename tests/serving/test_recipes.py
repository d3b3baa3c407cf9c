"""The recipes of docs/recipes.md, run as they stand there against a service that answers over HTTP."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from mmcore.serving.client import Client
from tests import tiny
from tests.conftest import ROOT
from tests.serving.conftest import World, apng, png

pytestmark = [pytest.mark.bento, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[Client]:
    from mmcore.serving.service import make_service

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_service(world.release).to_asgi(), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    client = Client(*listening.getsockname())
    until = time.monotonic() + 30
    while not client.ready() and time.monotonic() < until:
        time.sleep(0.05)
    yield client
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module of the page's definitions; its usage, which asks a running service, is left out."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.DOTALL)
    path = tmp_path_factory.mktemp("recipes") / "recipes_of_the_docs.py"
    path.write_text("\n\n".join(block for block in blocks if not block.startswith("assistant")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        import recipes_of_the_docs  # type: ignore[import-not-found]
    return recipes_of_the_docs


def test_an_assistant_finds_the_picture_and_answers_about_it_or_passes_on(
    service: Client, recipes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_clip_is_called_unusual_or_not(service: Client, recipes: Any) -> None:
    clip = "clip.png", apng(tiny.clip(1)["video"])
    [told] = service.post("/choose", [("task", "anomalies"), ("clip", clip)])
    assert recipes.unusual(clip, service) == (told["answer"] == "unusual")
    assert set(told["classes"]) == {"usual", "unusual"}
