"""What a request to the service may carry, and how its parts become arrays.

This is the only way in for bytes from outside: a part is taken as it was uploaded, a text is never taken for an
address to fetch from, sizes are bounded before anything is decoded, and whatever is wrong is one sentence.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mmcore.settings import ServeSettings

Kind = Literal["image", "video", "audio", "text"]
# A text, or what a file became: uint8 of an image or a clip, float16 of a recording.
Item = str | NDArray[np.uint8] | NDArray[np.float16]
Decode = Callable[[Kind, bytes], NDArray[np.uint8] | NDArray[np.float16]]


@dataclass(frozen=True)
class Field:
    """One field of a form; `many` fields may be sent several times."""

    kind: Kind
    many: bool
    meaning: str


@dataclass(frozen=True)
class Form:
    """The fields of an endpoint, the sets of them that make sense (None: any), and the task whose model answers (None:
    any that chooses among classes)."""

    task: str | None
    fields: dict[str, Field]
    accepts: tuple[set[str], ...] | None
    hint: str


@dataclass(frozen=True)
class Part:
    """One text, or one uploaded image (uint8 [S, S, 3]), clip (uint8 [F, S, S, 3]) or recording (float16 [T, mels]) as
    the model takes it; `file`: its bytes as they were sent, null for a text."""

    field: str
    value: Item
    file: bytes | None = None


class Refusal(Exception):
    """A request that is not answered: the HTTP status and one sentence that says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


IMAGES = Field("image", True, "image files")
CLIPS = Field("video", True, "clips (GIF, APNG or WebP files)")
TEXTS = Field("text", True, "texts")

FORMS: dict[str, Form] = {
    "/embed": Form(
        "retrieval",
        {"images": IMAGES, "clips": CLIPS, "texts": TEXTS},
        None,
        "send images (files), clips (files) or texts",
    ),
    "/rank": Form(
        "retrieval",
        {
            "text": Field("text", False, "the text that images or clips are ranked for"),
            "images": IMAGES,
            "clips": CLIPS,
            "image": Field("image", False, "the image file that texts are ranked for"),
            "clip": Field("video", False, "the clip that texts are ranked for"),
            "texts": TEXTS,
        },
        ({"text", "images"}, {"text", "clips"}, {"image", "texts"}, {"clip", "texts"}),
        "send one text with images or clips (files), or one image or clip (file) with texts",
    ),
    "/caption": Form("captioning", {"images": IMAGES, "clips": CLIPS}, None, "send images (files) or clips (files)"),
    "/summarise": Form(
        "summarisation",
        {
            "clip": Field("video", False, "a clip (GIF, APNG or WebP file)"),
            "transcript": Field("text", False, "what is said in the clip"),
        },
        None,
        "send a clip (file), its transcript, or both",
    ),
    "/choose": Form(
        None,
        {
            "task": Field("text", False, "which of the release's tasks is to choose; /identity names them"),
            "image": Field("image", False, "an image file"),
            "clip": Field("video", False, "a clip (GIF, APNG or WebP file)"),
            "audio": Field("audio", False, "a recording (WAV file)"),
            "text": Field("text", False, "a text, such as a caption"),
            "transcript": Field("text", False, "what is said or written beside it"),
            "question": Field("text", False, "a question about the image, clip or recording"),
        },
        None,
        "send the task and what it looks at: an image, clip or recording (file), a text, a transcript, a question",
    ),
}
# What a task chooses by is named as the model's inputs are: the fields by input, and the inputs by field.
SENT_AS = {"video" if name == "clip" else name: name for name in FORMS["/choose"].fields if name != "task"}
INPUTS = {field: name for name, field in SENT_AS.items()}


async def read_form(
    path: str, headers: Headers, body: bytes, *, limits: ServeSettings, decode: Decode, limiter: anyio.CapacityLimiter,
    chooses: Mapping[str, Sequence[str]],
) -> list[Part]:  # fmt: skip
    """The parts of a request to `path`, in the order in which they were sent.

    `chooses`: the inputs of each task that chooses among classes. `decode` turns a file into an array and raises
    ValueError with a sentence for what it cannot read; it runs in a thread that `limiter` grants. Raises Refusal.
    """
    form = FORMS[path]
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise Refusal(415, f"{path} takes multipart/form-data, not {media_type[:80] or 'an empty content type'}")
    options = [option.strip() for option in headers["content-type"].lower().split(";")[1:]]
    if any(option.startswith("charset") and "utf-8" not in option for option in options):
        # Python knows codecs that fail in ways of their own, or make characters that nothing can write.
        raise Refusal(415, f"{path} reads its texts as UTF-8; send no other charset in the content type")
    content = await _parse(headers, body, limits)
    try:
        _check_fields(path, form, content, limits)
        if form.task is None:
            _check_task(path, content, chooses)
        return await _read_parts(form, content, limits, decode, limiter)
    finally:
        await content.close()


async def _read_parts(
    form: Form, content: FormData, limits: ServeSettings, decode: Decode, limiter: anyio.CapacityLimiter
) -> list[Part]:
    parts: list[Part] = []
    counts: dict[str, int] = {}
    for name, value in content.multi_items():
        counts[name] = counts.get(name, 0) + 1
        label = f"{name}[{counts[name] - 1}]" if form.fields[name].many else name
        if isinstance(value, UploadFile):
            file = value.file.read()
            read = partial(decode, form.fields[name].kind, file)
            try:
                parts.append(Part(name, await anyio.to_thread.run_sync(read, limiter=limiter), file))
            except ValueError as error:
                raise Refusal(400, f"{label}: {error}") from None
        else:
            parts.append(Part(name, _text(label, value, limits)))
    return parts


async def _parse(headers: Headers, body: bytes, limits: ServeSettings) -> FormData:
    async def stream() -> AsyncIterator[bytes]:
        yield body

    parser = _Parser(
        headers,
        stream(),
        max_files=limits.max_items + 1,
        max_fields=limits.max_items + 1,
        max_part_size=4 * limits.max_characters + 4,
    )
    # The body is bounded and in memory already: nothing of it goes to disk.
    parser.spool_max_size = len(body) + 1
    try:
        content = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"the form cannot be read: {error.message}") from None
    if not parser.ended:
        parser.close()
        raise Refusal(400, "the form is cut off: its closing boundary is missing")
    return content


class _Parser(MultiPartParser):  # type: ignore[misc]
    """Tells a whole form from one that was cut off, of which the part at the cut would be missing silently."""

    ended = False

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()


def _check_fields(path: str, form: Form, content: FormData, limits: ServeSettings) -> None:
    items = content.multi_items()
    for name, value in items:
        field = form.fields.get(name)
        if field is None:
            raise Refusal(400, f"{path} has no field '{name[:80]}'; {form.hint}")
        if field.kind == "text" and isinstance(value, UploadFile):
            raise Refusal(400, f"{name} takes text, not a file")
        if field.kind != "text" and not isinstance(value, UploadFile):
            raise Refusal(400, f"{name} takes an uploaded file, not text or an address")
        if not field.many and len(content.getlist(name)) > 1:
            raise Refusal(400, f"{name} can be sent only once")
    if len(items) > limits.max_items:
        raise Refusal(400, f"{len(items)} parts are too many; send at most {limits.max_items} in one request")
    sent = {name for name, _ in items}
    if not sent or (form.accepts is not None and sent not in form.accepts):
        raise Refusal(400, f"{path}: {form.hint}")


def _check_task(path: str, content: FormData, chooses: Mapping[str, Sequence[str]]) -> None:
    task = str(content.get("task", ""))
    if task not in chooses:
        raise Refusal(400, f"{path}: send as task one of: {', '.join(chooses)}")
    fields = [SENT_AS.get(name, name) for name in chooses[task]]
    sent = {name for name, _ in content.multi_items()} - {"task"}
    if not sent or not sent <= set(fields):
        raise Refusal(400, f"{path}: the task {task} looks at {' and '.join(fields)}; send those, and nothing else")


def _text(label: str, value: str, limits: ServeSettings) -> str:
    if not value.strip():
        raise Refusal(400, f"{label} is empty")
    if len(value) > limits.max_characters:
        raise Refusal(400, f"{label} has {len(value)} characters; at most {limits.max_characters} are read")
    return value
