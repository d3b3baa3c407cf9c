"""What a request to the service may carry, and how its parts become arrays.

This is the only way in for bytes from outside: a part is taken as it was uploaded, a text is never taken for an
address to fetch from, sizes are bounded before anything is decoded, and whatever is wrong is one sentence.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
from numpy.typing import NDArray
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mmcore.settings import ServeSettings

Decode = Callable[[str, bytes], NDArray[Any]]
# The field for an input of a model where it is not called like it.
_FIELDS = {"video": "clip"}
_INPUTS = {field: name for name, field in _FIELDS.items()}
_TEXTS = {
    "text": "text, such as a caption",
    "transcript": "what is said or written beside it",
    "question": "question about what is sent with it",
}
_FILES = {"image": "image file", "video": "clip (GIF, APNG or WebP file)", "audio": "recording (WAV file)"}


class Item(NamedTuple):
    """A text, or the array that a file of another modality became (see `Medium.transform`)."""

    modality: str
    value: str | NDArray[Any]


@dataclass(frozen=True)
class Field:
    """One field of a form; `many` fields may be sent several times."""

    modality: str
    many: bool
    meaning: str


@dataclass(frozen=True)
class Form:
    """The fields of an endpoint, the sets of them that make sense (None: any), and what to send in words; `chooses`:
    the inputs of each task that the field `task` may name."""

    fields: Mapping[str, Field]
    accepts: tuple[set[str], ...] | None
    hint: str
    chooses: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What one field holds; `file`: its bytes as they were sent, null for a text."""

    field: str
    item: Item
    file: bytes | None = None


class Refusal(Exception):
    """A request that is not answered: the HTTP status and one sentence that says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def sent_as(name: str, *, many: bool = False) -> str:
    """The field for an input of a model, or for several of that modality."""
    return _FIELDS.get(name, name) + "s" * many


def input_of(field: str) -> str:
    """The input of a model that a field is."""
    return _INPUTS.get(field, field)


def forms(
    reads: Mapping[str, Sequence[str]], chooses: Mapping[str, Sequence[str]], suffixes: Mapping[str, Sequence[str]]
) -> dict[str, Form]:
    """The forms of a release, by endpoint.

    `reads`: the modalities that the model of each task encodes; `chooses`: the inputs of each task that chooses among
    classes; `suffixes`: what the files of each modality are called that has files.
    """

    def fields(names: Sequence[str], *, many: bool = False) -> dict[str, Field]:
        found = {}
        for name in names:
            meaning = (_TEXTS | _FILES).get(name) or f"{name} file ({', '.join(suffixes[name])})"
            found[sent_as(name, many=many)] = Field("text" if name in _TEXTS else name, many, meaning)
        return found

    made = {}
    if "retrieval" in reads:
        one, several = fields(reads["retrieval"]), fields(reads["retrieval"], many=True)
        made["/embed"] = Form(several, None, f"send {_listed(several)}")
        made["/rank"] = Form(
            one | several,
            tuple({query, candidates} for query in one for candidates in several),
            f"send one query ({_or(list(one))}) and candidates of one kind ({_or(list(several))})",
        )
    if seen := fields([name for name in ("image", "video") if name in reads.get("captioning", ())], many=True):
        made["/caption"] = Form(seen, None, f"send {_listed(seen)}")
    if "summarisation" in reads:
        about = fields(["video", "transcript"])
        made["/summarise"] = Form(about, None, "send a clip (file), its transcript, or both")
    if chooses:
        looked_at = fields(list(dict.fromkeys(name for own in chooses.values() for name in own)))
        task = Field("text", False, f"which task is to choose: {_or(list(chooses))}")
        made["/choose"] = Form(
            {"task": task, **looked_at}, None, f"send the task and what it looks at: {_listed(looked_at)}", chooses
        )
    return made


def _listed(fields: Mapping[str, Field]) -> str:
    files = {False: " (file)", True: " (files)"}
    return _or([name + ("" if field.modality == "text" else files[field.many]) for name, field in fields.items()])


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


async def read_form(
    path: str, form: Form, headers: Headers, body: bytes, *, limits: ServeSettings, decode: Decode,
    limiter: anyio.CapacityLimiter,
) -> list[Part]:  # fmt: skip
    """The parts of a request to `path`, in the order in which they were sent.

    `decode` turns a file of a modality into an array and raises ValueError with a sentence for what it cannot read; it
    runs in a thread that `limiter` grants. Raises Refusal.
    """
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
        if form.chooses:
            _check_task(path, content, form.chooses)
        return await _read_parts(form, content, limits, decode, limiter)
    finally:
        await content.close()


async def _read_parts(
    form: Form, content: FormData, limits: ServeSettings, decode: Decode, limiter: anyio.CapacityLimiter
) -> list[Part]:
    parts: list[Part] = []
    counts: dict[str, int] = {}
    for name, value in content.multi_items():
        field = form.fields[name]
        counts[name] = counts.get(name, 0) + 1
        label = f"{name}[{counts[name] - 1}]" if field.many else name
        if isinstance(value, UploadFile):
            file = value.file.read()
            read = partial(decode, field.modality, file)
            try:
                array = await anyio.to_thread.run_sync(read, limiter=limiter)
                parts.append(Part(name, Item(field.modality, array), file))
            except ValueError as error:
                raise Refusal(400, f"{label}: {error}") from None
        else:
            parts.append(Part(name, Item("text", _text(label, value, limits))))
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
            raise Refusal(400, f"{path} of this release has no field '{name[:80]}'; {form.hint}")
        if field.modality == "text" and isinstance(value, UploadFile):
            raise Refusal(400, f"{name} takes text, not a file")
        if field.modality != "text" and not isinstance(value, UploadFile):
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
    fields = [sent_as(name) for name in chooses[task]]
    sent = {name for name, _ in content.multi_items()} - {"task"}
    if not sent or not sent <= set(fields):
        raise Refusal(400, f"{path}: the task {task} looks at {' and '.join(fields)}; send those, and nothing else")


def _text(label: str, value: str, limits: ServeSettings) -> str:
    if not value.strip():
        raise Refusal(400, f"{label} is empty")
    if len(value) > limits.max_characters:
        raise Refusal(400, f"{label} has {len(value)} characters; at most {limits.max_characters} are read")
    return value
