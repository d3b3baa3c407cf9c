"""The guard in front of an application that says what it received."""

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from mmcore.serving.client import form
from mmcore.serving.guard import PARTS, Guard
from tests.serving.test_uploads import FORMS, LIMITS, decode

CONTENT_TYPE, BODY = form([("images", ("a", b"1234"))])


async def echo(request: Request) -> JSONResponse:
    parts = [[part.field, int(part.item.value.flat[0])] for part in request.scope.get(PARTS, [])]
    return JSONResponse({"body": len(await request.body()), "parts": parts})


def client(key: str | None = None) -> TestClient:
    guard = Middleware(Guard, key=key, limits=LIMITS, forms={"/caption": FORMS["/caption"]}, decode=lambda: decode)
    paths = ["/", "/caption", "/other", "/readyz", "/metrics", "/static_content/x"]
    routes = [Route(path, echo, methods=["GET", "POST"]) for path in paths]
    return TestClient(Starlette(routes=routes, middleware=[guard]))


def test_parts_reach_the_endpoint_decoded() -> None:
    answer = client().post("/caption", content=BODY, headers={"Content-Type": CONTENT_TYPE})
    assert answer.json() == {"body": 0, "parts": [["images", 4]]}


def test_other_bodies_are_passed_on_whole() -> None:
    assert client().post("/other", content=b"x" * 9_000).json() == {"body": 9_000, "parts": []}


def test_a_refusal_is_one_sentence_in_one_shape() -> None:
    answer = client().post("/caption", json={"images": "http://127.0.0.1/x.png"})
    assert answer.status_code == 415
    assert answer.json() == {"error": "/caption takes multipart/form-data, not application/json"}


@pytest.mark.parametrize("path", ["/caption", "/other"])
def test_a_body_that_says_it_is_too_long_is_refused_unread(path: str) -> None:
    answer = client().post(path, content=b"x" * 10_001)
    assert answer.status_code == 413
    assert answer.json() == {"error": "the request has 10001 bytes; at most 10000 are taken"}


@pytest.mark.parametrize("path", ["/caption", "/other"])
def test_a_body_of_unknown_length_is_refused_where_it_grows_too_long(path: str) -> None:
    taken = []

    def chunks() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"x" * 1000

    answer = client().post(path, content=chunks())
    assert answer.status_code == 413
    assert answer.json() == {"error": "the request is longer than 10000 bytes; no more are taken"}


def test_a_false_content_length_does_not_help() -> None:
    answer = client().post("/other", content=b"x" * 20_000, headers={"Content-Length": "10"})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("[::1]", 200), ("10.0.0.5", 403), ("[::ffff:10.0.0.5]", 403)]
)
def test_without_a_key_only_this_machine_is_answered_however_the_server_was_started(address: str, status: int) -> None:
    assert client().get(f"http://{address}/metrics").status_code == status
    assert client("secret").get(f"http://{address}/metrics").status_code == 401
    assert client().get(f"http://{address}/readyz").status_code == 200


def test_with_a_key_only_who_knows_it_may_ask() -> None:
    guarded = client("secret")
    assert guarded.get("/metrics", headers={"Authorization": "Bearer secret"}).status_code == 200
    for given in ("", "Bearer", "Bearer secre", "Basic secret", "Bearer é"):
        answer = guarded.get("/metrics", headers={"Authorization": given.encode()})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"].startswith("this service needs its key")


def test_the_key_is_asked_for_before_a_body_is_read() -> None:
    assert client("secret").post("/caption", content=b"x" * 100_000).status_code == 401


@pytest.mark.parametrize("path", ["/", "/readyz", "/static_content/x"])
def test_pages_and_health_need_no_key(path: str) -> None:
    assert client("secret").get(path).status_code == 200


@pytest.mark.parametrize("path", ["/readyz/", "/static_contentx", "//metrics", "/docs/../metrics"])
def test_nothing_near_an_open_path_is_open(path: str) -> None:
    assert client("secret").get(f"http://testserver{path}").status_code in (401, 404)
