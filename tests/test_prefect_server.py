import socket
from pathlib import Path

import pytest

from mmcore import prefect_server
from mmcore.workspace import Workspace


@pytest.mark.prefect
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # servers outlive their Popen
def test_of_two_projects_that_start_at_once_each_talks_to_its_own_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr(prefect_server, "PREFERRED_PORT", port)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    places = [Workspace(tmp_path / name) for name in ("first", "second")]
    try:
        started = [prefect_server.start(place) for place in places]
        assert {server.api for server in started} == {f"http://127.0.0.1:{port}/api"}  # before either listens
        first, second = (prefect_server.wait(server, place) for server, place in zip(started, places, strict=True))
        assert first.api != second.api
        assert [prefect_server.find(place) for place in places] == [first, second]
    finally:
        assert [prefect_server.stop(place) for place in places] == [True, True]
