"""Starts a packaged Bento where nothing but the Bento is at hand, and compares its answers with the offline ones.

The server runs in an empty folder, in a virtual environment that sees the installed libraries and no checkout; it
must prove that its code and its models are the released ones, and give the golden answers.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmcore.data.store import read_table
from mmcore.serving import leash
from mmcore.serving.client import Client, Sent, free_port
from mmcore.serving.package import bento_path
from mmcore.serving.uploads import sent_as
from mmcore.workspace import read_json, write_json

START_SECONDS = 180
END_SECONDS = 20
LAST_LINES = 20
SIDE_BY_SIDE = 4  # so that answers come out of batches that mix requests; at most as many as the Bento takes
FAILED_START = "Application startup failed"

Request = dict[str, Any]
Check = Callable[[Client, Request, "_Golden"], str]


@dataclass(frozen=True)
class SmokeResult:
    """`counts`: golden requests per task that were answered as expected. `problem`: the first that was not, or what
    the Bento is that it should not be; empty if all is well. `seconds`: how long the phases took."""

    passed: bool
    problem: str
    counts: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        asked = ", ".join(f"{count} {task}" for task, count in self.counts.items())
        return f"{asked} requests answered as offline" if self.passed else self.problem


def smoke_test(
    tag: str, *, store: Path, golden: Path, expected_model_hash: str, expected_code_hash: str, logs: Path
) -> SmokeResult:
    """Serve the Bento `tag` of `store` on a free loopback port and ask it the golden requests of the folder `golden`.

    Nothing of it is left running or lying about afterwards, also if this process is killed. The server's output goes
    to `logs/bento.log`, the result to `logs/smoke_test.json`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    counts: dict[str, int] = {}
    seconds: dict[str, float] = {}
    try:
        with served(tag, store, logs / "bento.log") as client:
            seconds["start"] = round(time.monotonic() - started, 2)
            problem = check_identity(client.get("/identity"), expected_model_hash, expected_code_hash)
            if not problem:
                serve = read_json(bento_path(store, tag) / "src" / "release" / "serve.json")
                counts, problem = ask(client, golden, at_once=min(SIDE_BY_SIDE, serve["max_requests"]))
            seconds["all"] = round(time.monotonic() - started, 2)
    except (RuntimeError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        problem = str(error) or type(error).__name__
    result = SmokeResult(not problem, problem, counts, seconds)
    write_json(logs / "smoke_test.json", asdict(result))
    return result


def check_identity(identity: Mapping[str, Any], model_hash: str, code_hash: str) -> str:
    """What is wrong with the running Bento's identity, empty if nothing is."""
    if identity["mmcore"] != "mmcore" or identity["strays"]:
        return f"mmcore runs from {identity['mmcore']} (strays: {identity['strays']}), not from the Bento"
    if identity["model_hash"] != model_hash:
        return f"the Bento holds the model {identity['model_hash'][:12]}, not {model_hash[:12]}"
    if identity["weights_hash"] != identity["released"]["weights_hash"]:
        return "the loaded weights are not the packaged ones: their hashes differ"
    if identity["code_hash"] != code_hash:
        return f"the Bento runs the code {identity['code_hash'][:12]}, not {code_hash[:12]}"
    return ""


@contextmanager
def served(tag: str, store: Path, log: Path) -> Iterator[Client]:
    """The Bento, serving and ready; RuntimeError with its last words if it does not start."""
    folder = Path(tempfile.mkdtemp(prefix="mmcore-smoke-"))
    try:
        python = _environment(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    port = free_port()
    command = [str(python), "-m", "bentoml", "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", str(leash.__file__), str(folder), *command], stdin=subprocess.PIPE, stdout=output,
            stderr=output, cwd=folder / "empty", env=_variables(store, folder), start_new_session=True,
        )  # fmt: skip
    try:
        client = Client("127.0.0.1", port)
        _wait(client, process, log)
        yield client
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(END_SECONDS)


def _environment(folder: Path) -> Path:
    """A virtual environment that sees this one's libraries, but not what its .pth files lead to: an editable install
    points to the checkout, and .pth files in a folder that a .pth file names are not read. Returns its Python."""
    for name in ("empty", "tmp"):
        (folder / name).mkdir()
    place = folder / "venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(place)
    inside = sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)})
    libraries = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    (Path(inside) / "libraries.pth").write_text("".join(f"{path}\n" for path in libraries))
    return place / "bin" / "python"


def _variables(store: Path, folder: Path) -> dict[str, str]:
    own = ("PYTHON", "MMCORE_", "BENTOML_", "PREFECT_", "DVC_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {
        "BENTOML_HOME": str(store.resolve()),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONDONTWRITEBYTECODE": "1",  # a Bento stays as it was built
        "TMPDIR": str(folder / "tmp"),
    }


def _wait(client: Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not client.ready():
        words = log.read_text(errors="replace")
        if process.poll() is not None or FAILED_START in words or time.monotonic() > deadline:
            lines = "\n".join(words.splitlines()[-LAST_LINES:])
            raise RuntimeError(f"the Bento did not become ready:\n{lines}")
        time.sleep(0.05)


# Golden requests ----------------------------------------------------------------------------------------------------


class _Golden:
    """What `golden.py` wrote."""

    def __init__(self, folder: Path) -> None:
        requests = read_json(folder / "requests.json")
        self.tolerance: float = requests["tolerance"]
        self.tasks: dict[str, list[Request]] = requests["tasks"]
        media = read_table(folder / "media.parquet")
        self.media: dict[str, bytes] = dict(zip(media["key"].to_pylist(), media["content"].to_pylist(), strict=True))
        vectors = read_table(folder / "vectors.parquet")
        self.vectors: dict[str, Any] = dict(zip(vectors["key"].to_pylist(), vectors["vector"].to_pylist(), strict=True))

    def file(self, key: str) -> tuple[str, bytes]:
        return key, self.media[key]

    def sent(self, modality: str, key: str, *, many: bool) -> Sent:
        """The field of a form for a text, or for the file with that key."""
        return sent_as(modality, many=many), key if modality == "text" else self.file(key)


def ask(client: Client, golden: Path, *, at_once: int = SIDE_BY_SIDE) -> tuple[dict[str, int], str]:
    """Send the golden requests, so many `at_once`; returns how many of each task were answered as expected, and what is
    wrong with the first that was not."""
    content = _Golden(golden)
    counts: dict[str, int] = {}
    with ThreadPoolExecutor(at_once) as pool:
        for task, requests in content.tasks.items():
            problems = list(pool.map(partial(_check, CHECKS.get(task, _choosing), client, golden=content), requests))
            counts[task] = sum(not problem for problem in problems)
            for request, problem in zip(requests, problems, strict=True):
                if problem:
                    return counts, f"{task}, golden request {request['id']}: {problem}"
    return counts, "" if any(content.tasks.values()) else "there are no golden requests"


def _check(check: Check, client: Client, request: Request, *, golden: _Golden) -> str:
    try:
        return check(client, request, golden)
    except (RuntimeError, OSError, json.JSONDecodeError) as error:
        return str(error)


def _retrieval(client: Client, request: Request, golden: _Golden) -> str:
    query, candidates = request["query"], request["candidates"]
    asked = [(query["modality"], query["key"]), *((candidates["modality"], key) for key in candidates["keys"])]
    vectors = client.post("/embed", [golden.sent(name, key, many=True) for name, key in asked])
    problem = _differ("an embedding", vectors, [golden.vectors[key] for _, key in asked], golden.tolerance)
    if problem:
        return problem
    fields = [golden.sent(name, key, many=place > 0) for place, (name, key) in enumerate(asked)]
    ranked = client.post("/rank", fields)
    if ranked["order"] != request["order"]:
        return f"the order is {ranked['order']}, offline {request['order']}"
    return _differ("a score", ranked["scores"], request["scores"], golden.tolerance)


def _captioning(client: Client, request: Request, golden: _Golden) -> str:
    return _compare_text(client.post("/caption", [golden.sent(request["kind"], request["media"], many=True)]), request)


def _summarisation(client: Client, request: Request, golden: _Golden) -> str:
    said = [("transcript", request["transcript"])] if request["transcript"] else []
    return _compare_text(client.post("/summarise", [("clip", golden.file(request["media"])), *said]), request)


def _choosing(client: Client, request: Request, golden: _Golden) -> str:
    files = [(field, golden.file(key)) for field, key in request["media"].items()]
    texts = [(name, text) for name, text in request["texts"].items() if text]
    (answer,) = client.post("/choose", [("task", request["task"]), *texts, *files])
    expected = answer["classes"].get(request["prediction"], 0.0)
    # Of two classes that are equally probable either may be the answer.
    if answer["answer"] != request["prediction"] and answer["probability"] - expected > golden.tolerance:
        return f"the answer is '{answer['answer']}', offline '{request['prediction']}'"
    return _differ("a probability", [expected], [request["score"]], golden.tolerance)


CHECKS: dict[str, Check] = {
    "retrieval": _retrieval,
    "captioning": _captioning,
    "summarisation": _summarisation,
}


def _compare_text(answer: Any, request: Request) -> str:
    if answer == [request["prediction"]]:
        return ""
    return f"the answer is {json.dumps(answer, ensure_ascii=False)}, offline '{request['prediction']}'"


def _differ(what: str, found: Any, expected: Any, tolerance: float) -> str:
    left, right = np.array(found, np.float64), np.array(expected, np.float64)
    if left.shape != right.shape:
        return f"{what} has the shape {left.shape}, offline {right.shape}"
    largest = float(np.abs(left - right).max(initial=0.0))
    return "" if largest <= tolerance else f"{what} differs by {largest:.2g} from offline, more than {tolerance:g}"
