"""The service keeps what it is unsure of, and what a person says of it becomes rows that the next training reads."""

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prometheus_client
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from mmcore import params
from mmcore.commands import data_requests
from mmcore.data import store
from mmcore.data.corpus import Corpus
from mmcore.ledger import Ledger
from mmcore.serving import requests
from mmcore.serving.client import Client
from mmcore.tasks import TASKS
from mmcore.workspace import Workspace, read_json, write_json
from tests import tiny
from tests.conftest import ROOT, git
from tests.projects import environment
from tests.serving.conftest import CHOOSING, World, fill_store, pack, png, prepare_without_profile, wav
from tests.serving.test_serve import free
from tests.serving.test_service import post

pytestmark = [pytest.mark.bento, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PICTURE = png(tiny.picture("red", "left"))
ASKED = [("task", "where"), ("image", ("a.png", PICTURE)), ("text", "red")]


@contextlib.contextmanager
def service(world: World, release: Path, **limits: Any) -> Iterator[TestClient]:
    """The world's release with other limits."""
    from mmcore.serving.service import make_service

    shutil.copytree(world.release, release)
    write_json(release / "serve.json", read_json(world.release / "serve.json") | limits)
    forget_metrics()
    with TestClient(make_service(release).to_asgi()) as client:
        yield client
    forget_metrics()


def forget_metrics() -> None:
    """BentoML counts per process, and does not expect a second service in one."""
    registry = prometheus_client.REGISTRY
    own = {collector for name, collector in registry._names_to_collectors.items() if name.startswith("bentoml_")}
    for collector in own:
        registry.unregister(collector)


@pytest.fixture
def project(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with data of its own, whose service keeps requests in its `.mmcore`."""
    shutil.copyfile(ROOT / "params.yaml", toy / "params.yaml")
    shutil.rmtree(toy / "data")
    fill_store(toy / "data", toy / "validated", scenes=6, clips=4)
    Ledger(toy).add_data()
    (toy / ".gitignore").write_text("/data/\n/.mmcore/\n/validated/\n/prepared/\n")
    git(toy, "add", "-A")
    git(toy, "commit", "--quiet", "-m", "data")
    workspace = Workspace(toy)
    monkeypatch.setenv(requests.FOLDER, str(workspace.state / "requests"))
    return workspace


def say(workspace: Workspace, doing: str, *id: str, answer: str | None = None, new_class: bool = False) -> str:
    words: Any = id[0] if doing == "show" else list(id)
    return data_requests.run(workspace, argparse.Namespace(doing=doing, id=words, answer=answer, new_class=new_class))


def rows(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The rows that came of requests, by id."""
    tables = [pq.read_table(workspace.data / shard.path) for shard in store.shards(workspace.data)]
    return {row["id"]: row for table in tables for row in store.as_rows(table) if row["id"].startswith("request-")}


def test_what_the_service_was_unsure_of_is_corrected_and_trained_on(
    world: World, project: Workspace, tmp_path: Path
) -> None:
    with service(world, tmp_path / "release", ask_below=1.0) as client:
        (answer,) = post(client, "/choose", ASKED).json()
        post(client, "/choose", ASKED)  # asked again: it is kept once
        question = [("task", "questions"), ("image", ("a.png", PICTURE)), ("question", "where is it?")]
        post(client, "/choose", question)
        sound = wav(np.zeros(4000))
        post(client, "/choose", [("task", "heard"), ("audio", ("a.wav", sound))])
    where, heard, asked = (
        next(one for one in requests.kept(project.state / "requests") if one.task == task)
        for task in ("where", "heard", "questions")
    )
    assert (where.answer, where.label, where.model) == (answer["answer"], "place", world.model_hash)
    assert f"{where.id}  {where.probability:.2f}  where: {where.answer}  (image, text" in say(project, "list")
    assert f"image       {project.state / 'requests' / where.id / 'image.png'}" in say(project, "show", where.id)

    with pytest.raises(ValueError, match=r"'above' is no class of the task where; there are: .*--new-class"):
        say(project, "accept", where.id, answer="above")
    before = (project.root / "data.dvc").read_bytes()
    said = say(project, "accept", where.id, heard.id, answer="above", new_class=True)
    assert said.startswith("accepted 2 requests: 2 new training rows")
    say(project, "accept", asked.id, answer="on the left")
    assert (project.root / "data.dvc").read_bytes() != before
    assert Ledger(project.root).data_state() == "same"
    assert requests.kept(project.state / "requests") == []
    # What was generated first is never generated again in the place of this.
    assert params.load(project.params).data.source is None

    found = rows(project)
    row = found[f"request-{where.id}"]
    assert (row["image"], row["labels"], row["captions"][0]["text"]) == (PICTURE, {"place": "above"}, "red")
    assert found[f"request-{heard.id}"]["audio"] == sound
    assert found[f"request-{asked.id}"]["qa"] == [{"question": "where is it?", "answers": ["on the left"]}]
    assert {shard.split for shard in store.shards(project.data) if _has_requests(project, shard.path)} == {"train"}

    accepted = [
        {"id": id, "split": shard.split, "shard": shard.path, "row": number, "verdict": "ok"}
        for shard in store.shards(project.data)
        for number, id in enumerate(store.column(project.data / shard.path, "id"))
    ]
    pq.write_table(pa.Table.from_pylist(accepted), project.root / "validated" / "accepted.parquet")
    (project.root / "prepared").mkdir()
    prepare_without_profile(project.root)
    corpus = Corpus(project.root / "prepared", "train")
    assert "above" in TASKS.build(CHOOSING["where"]).heads(corpus)["place"]["classes"]


def _has_requests(workspace: Workspace, shard: str) -> bool:
    return any(id.startswith("request-") for id in store.column(workspace.data / shard, "id"))


def test_a_confident_answer_a_refused_request_and_other_endpoints_leave_nothing(
    world: World, project: Workspace, tmp_path: Path
) -> None:
    kept = project.state / "requests"
    with service(world, tmp_path / "sure", ask_below=0.01) as client:
        assert post(client, "/choose", ASKED).status_code == 200
    with service(world, tmp_path / "unsure", ask_below=1.0) as client:
        assert post(client, "/choose", [("task", "where"), ("image", ("a", b"broken"))]).status_code == 400
        assert post(client, "/caption", [("images", ("a", PICTURE))]).status_code == 200
    assert not kept.exists()


def test_nothing_is_kept_where_no_folder_is_named_or_nothing_asked_for(
    world: World, project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(world, tmp_path / "off") as client:
        post(client, "/choose", ASKED)
    monkeypatch.delenv(requests.FOLDER)
    with service(world, tmp_path / "nowhere", ask_below=1.0) as client:
        post(client, "/choose", ASKED)
    assert not (project.state / "requests").exists()


def test_what_cannot_be_kept_is_answered_all_the_same_and_the_log_says_why(
    world: World, project: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with service(world, tmp_path / "full", ask_below=1.0, ask_most=1) as client:
        assert post(client, "/choose", ASKED).status_code == 200
        assert post(client, "/choose", [*ASKED[:2], ("text", "blue")]).status_code == 200
    assert len(requests.kept(project.state / "requests")) == 1
    shutil.rmtree(project.state / "requests")
    (project.state / "requests").write_text("a file in its place")
    with service(world, tmp_path / "blocked", ask_below=1.0) as client:
        assert post(client, "/choose", ASKED).status_code == 200
    said = [record.message for record in caplog.records if record.name == "mmcore.serving.asking"]
    assert ["is full" in said[0], "could not be kept" in said[1]] == [True, True]


def test_a_rejected_request_is_gone_and_data_are_as_they_were(world: World, project: Workspace, tmp_path: Path) -> None:
    with service(world, tmp_path / "release", ask_below=1.0) as client:
        post(client, "/choose", ASKED)
    (one,) = requests.kept(project.state / "requests")
    assert say(project, "reject", one.id) == "removed 1 request"
    assert requests.kept(project.state / "requests") == []
    assert rows(project) == {}
    with pytest.raises(LookupError, match="no request"):
        say(project, "accept", one.id)


def test_what_was_kept_before_an_answer_is_there_when_the_server_is_killed_after_it(
    world: World, tmp_path: Path
) -> None:
    """A Bento of its own, served as `mmcore serve` does."""
    serve = dataclasses.replace(world.settings.serve, port=free(), ask_below=1.0)
    tag = pack(tmp_path, world.tasks, dataclasses.replace(world.settings, serve=serve), world.model_hash)
    start = (
        "from pathlib import Path; from mmcore.serving.serve import serve; from mmcore.settings import ServeSettings\n"
        f"serve('{tag}', ServeSettings(**{dataclasses.asdict(serve)}), Path('bentos'), Path('kept').resolve())"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", start], cwd=tmp_path, env=environment(ROOT), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        client, deadline = Client("127.0.0.1", serve.port), time.monotonic() + 120
        while not client.ready():
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        (answer,) = client.post("/choose", ASKED)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    (one,) = requests.kept(tmp_path / "kept")
    assert (one.answer, one.classes) == (answer["answer"], answer["classes"])
    assert (tmp_path / "kept" / one.id / "image.png").read_bytes() == PICTURE


def test_a_packed_service_holds_what_it_needs_to_keep_requests(world: World) -> None:
    packed = {path.name for path in (world.release.parent / "mmcore" / "serving").iterdir()}
    assert {"asking.py", "requests.py"} <= packed
    assert dataclasses.asdict(world.settings.serve)["ask_below"] == 0.0
