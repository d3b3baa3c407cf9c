"""The middleware behind the guard that keeps requests whose answer is unsure, for a person to say what is right."""

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmcore.serving import requests
from mmcore.serving.guard import PARTS
from mmcore.serving.requests import Kept
from mmcore.serving.uploads import Part, input_of
from mmcore.settings import ServeSettings

PATH = "/choose"


class Asking:
    """ASGI middleware: a choice less likely than `limits.ask_below` goes to `folder` before it is answered.

    `labels(task)`: what the task answers; `model`: the hash of the released models. What cannot be kept is answered all
    the same, and the log says why.
    """

    def __init__(
        self, app: ASGIApp, *, limits: ServeSettings, folder: Path, labels: Callable[[str], str | None], model: str
    ) -> None:
        self.app = app
        self._limits, self._folder, self._labels, self._model = limits, folder, labels, model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or PARTS not in scope:
            await self.app(scope, receive, send)
            return
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await anyio.to_thread.run_sync(self._consider, scope[PARTS], held)
                for one in held:
                    await send(one)

        await self.app(scope, receive, hold)

    def _consider(self, parts: Sequence[Part], held: Sequence[Message]) -> None:
        """Keep the request if it was answered, and that without much confidence."""
        if held[0]["status"] != 200:
            return
        (answer,) = json.loads(b"".join(message.get("body", b"") for message in held[1:]))
        if answer["probability"] >= self._limits.ask_below:
            return
        log = logging.getLogger(__name__)
        try:
            if not self._keep(parts, answer):
                log.warning("an unsure request is not kept: %s is full (serve.ask_most, ask_bytes)", self._folder)
        except OSError as error:
            log.warning("an unsure request could not be kept in %s: %s", self._folder, error)

    def _keep(self, parts: Sequence[Part], answer: dict[str, Any]) -> bool:
        (task,) = (str(part.item.value) for part in parts if part.field == "task")
        sent = {input_of(part.field): part for part in parts if part.field != "task"}
        texts = {name: str(part.item.value) for name, part in sent.items() if part.file is None}
        files = {name: part.file for name, part in sent.items() if part.file is not None}
        request = Kept(
            id=requests.identity(task, texts, files),
            task=task,
            label=self._labels(task) or task,
            answer=answer["answer"],
            probability=answer["probability"],
            classes=answer["classes"],
            model=self._model,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            texts=texts,
            files={name: requests.file_name(name, content) for name, content in files.items()},
        )
        limits = self._limits
        return requests.keep(self._folder, request, files, most=limits.ask_most, most_bytes=limits.ask_bytes)
