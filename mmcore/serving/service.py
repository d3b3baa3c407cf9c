"""The BentoML service: the endpoints, their batching, and the page. What may be sent is decided in `guard`."""

import functools
import importlib
import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import bentoml
import click
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from mmcore.serving.asking import Asking
from mmcore.serving.guard import PARTS, Guard
from mmcore.serving.requests import FOLDER
from mmcore.serving.uploads import Form, Item, Part, forms, input_of
from mmcore.settings import ServeSettings
from mmcore.workspace import read_json

if TYPE_CHECKING:
    from mmcore.serving.predictor import Predictor

PAGE = Path(__file__).parent / "page"
KEY = "MMCORE_API_KEY"
# The pages take nothing from anywhere else and are shown in no other site's frame.
PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; media-src blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def make_service(release: Path) -> Any:
    """The service over the folder `release`, which `package.py` wrote; an endpoint for each task that it holds."""
    limits = ServeSettings(**read_json(release / "serve.json"))
    identity = read_json(release / "identity.json")
    taken = forms(identity["reads"], identity["chooses"], identity["suffixes"])
    key = os.environ.get(KEY) or None

    @functools.cache
    def predictor() -> "Predictor":
        # Imported by the worker that computes, and not by the build or the supervisor, which load this module for
        # its endpoints only: torch would cost each of them seconds.
        loaded: Predictor = importlib.import_module("mmcore.serving.predictor").Predictor(release)
        return loaded

    service = _declare(predictor, taken, limits, key)
    for name in [name for name in service.apis if f"/{name}" not in taken]:
        del service.apis[name]
    service.add_asgi_middleware(
        Guard,
        key=key,
        limits=limits,
        forms=taken,
        decode=lambda: predictor().decode,
    )
    if limits.ask_below and os.environ.get(FOLDER):
        service.add_asgi_middleware(
            Asking,
            limits=limits,
            folder=Path(os.environ[FOLDER]),
            model=identity["model_hash"],
            labels=lambda task: predictor().models[task].answers_by,
        )
    service.mount_asgi_app(_pages(predictor), path="/")
    return service


def _declare(
    predictor: Callable[[], "Predictor"], taken: Mapping[str, Form], limits: ServeSettings, key: str | None
) -> Any:
    milliseconds = int(1000 * limits.timeout_seconds)
    batched = {"batchable": True, "max_batch_size": limits.max_batch, "max_latency_ms": milliseconds}
    form = functools.partial(_form, taken)

    @bentoml.service(
        name="mmcore",
        workers=limits.workers,
        threads=limits.threads,
        traffic={"timeout": limits.timeout_seconds, "max_concurrency": limits.max_requests},
        http={"host": limits.host, "port": limits.port},
    )
    class Service:
        """Multimodal models behind HTTP: embeddings, ranking, captions, summaries and choices for uploaded media."""

        def __init__(self) -> None:
            predictor().warm_up()

        @bentoml.on_deployment  # type: ignore[untyped-decorator]
        @staticmethod
        def refuse_open_address() -> None:
            """Without a key only this machine may ask."""
            context = click.get_current_context(silent=True)
            host = (context.params.get("host") if context else None) or limits.host
            if key is None and not ipaddress.ip_address(host).is_loopback:
                raise click.ClickException(
                    f"binding to {host} lets other machines in: set the environment variable {KEY}, or use 127.0.0.1"
                )

        @bentoml.api(input_spec=form("/embed", _items), **batched)  # type: ignore[untyped-decorator]
        def embed(self, items: list[Any]) -> list[list[float]]:
            """The vector of length 1 in the shared space of each file and text, in the order sent."""
            vectors: list[list[float]] = predictor().embed(items).tolist()
            return vectors

        @bentoml.api(input_spec=form("/rank"))  # type: ignore[untyped-decorator]
        def rank(self, items: list[Any]) -> dict[str, Any]:
            """The candidates by their likeness to the query: `order` holds places, best first, `scores` the cosine
            similarity of each in the order sent."""
            fields = taken["/rank"].fields
            (query,) = (part.item for part in items if not fields[part.field].many)
            order, scores = predictor().rank(query, [part.item for part in items if fields[part.field].many])
            return {"order": order, "scores": scores}

        @bentoml.api(input_spec=form("/caption", _items), **batched)  # type: ignore[untyped-decorator]
        def caption(self, items: list[Any]) -> list[str]:
            """One sentence for each image and clip, in the order sent."""
            return predictor().caption_all(items)

        @bentoml.api(input_spec=form("/summarise", _pair), **batched)  # type: ignore[untyped-decorator]
        def summarise(self, items: list[Any]) -> list[str]:
            """The summary of the clip with its transcript, as a list of one."""
            return predictor().summarise_all(items)

        @bentoml.api(input_spec=form("/choose", _inputs), **batched)  # type: ignore[untyped-decorator]
        def choose(self, items: list[Any]) -> list[dict[str, Any]]:
            """What the task chooses, as a list of one: the `answer`, its `probability`, and those of all `classes`."""
            return predictor().choose_all(items)

    return Service


def _items(parts: list[Part]) -> list[Item]:
    return [part.item for part in parts]


def _pair(parts: list[Part]) -> list[Any]:
    values = {part.field: part.item.value for part in parts}
    return [(values.get("clip"), values.get("transcript"))]


def _inputs(parts: list[Part]) -> list[Any]:
    inputs = {input_of(part.field): part.item.value for part in parts}
    return [(inputs.pop("task"), inputs)]


def _form(taken: Mapping[str, Form], path: str, items: Callable[[list[Part]], list[Any]] = list) -> type:
    """The input of an endpoint: the parts that the guard has read, described for the API page as `taken` says.

    `items` makes of them what adaptive batching may join with the items of other requests.
    """
    # An endpoint that the release does not have is declared with the others, and then taken away.
    form = taken.get(path, Form({}, None, ""))
    described: dict[str, Any] = {}
    for name, field in form.fields.items():
        one = {"type": "string"} if field.modality == "text" else {"type": "string", "format": "binary"}
        described[name] = ({"type": "array", "items": one} if field.many else one) | {"description": field.meaning}

    class Input(bentoml.IODescriptor):  # type: ignore[misc]
        media_type = "multipart/form-data"
        items: list[Any]

        @classmethod
        async def from_http_request(cls, request: Request, serde: object) -> Any:
            return cls.model_construct(items=items(request.scope[PARTS]))

        @classmethod
        def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
            return {"type": "object", "title": path.strip("/"), "description": form.hint, "properties": described}

    return Input


def _pages(predictor: Callable[[], "Predictor"]) -> Starlette:
    async def identity(request: Request) -> Response:
        """What this Bento is, computed from what is loaded."""
        return JSONResponse(await anyio.to_thread.run_sync(predictor().identity))

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    async def docs(request: Request) -> Response:
        return FileResponse(PAGE / "docs.html", headers=PAGE_HEADERS)

    return Starlette(routes=[Route("/", page), Route("/docs", docs), Route("/identity", identity)])
