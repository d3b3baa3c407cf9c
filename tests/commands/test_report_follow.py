import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcore.commands import report_follow
from mmcore.commands.report_follow import Server
from mmcore.workspace import Workspace, write_bytes
from tests.report.test_live import record


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "params.yaml").write_text("name: birds\n")
    server = Server(Workspace(tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def get(server: Server, path: str, host: str = "") -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_the_page_runs_its_own_script_and_no_other(server: Server) -> None:
    status, body, headers = get(server, "/")
    assert status == 200
    nonce = body.partition('<script nonce="')[2].partition('"')[0]
    assert len(nonce) > 16
    assert f"script-src 'nonce-{nonce}'" in headers["Content-Security-Policy"]
    assert nonce not in get(server, "/")[1]
    assert "No run yet" in body
    assert "No run yet" in get(server, "/now", f"localhost:{server.server_port}")[1]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "evil.example:{port}", "127.0.0.1:80", "localhost.evil:{port}"]
)
def test_another_hosts_name_is_refused(server: Server, host: str) -> None:
    status, body, _ = get(server, "/", host.format(port=server.server_port))
    assert status == 403
    assert "No run yet" not in body


@pytest.mark.parametrize("path", ["/params.yaml", "/../params.yaml", "/report/../params.yaml", "/now?x=1", "/report"])
def test_another_path_is_refused(server: Server, path: str) -> None:
    assert get(server, path)[0] == 404


def test_it_serves_the_report_of_a_finished_run(server: Server) -> None:
    workspace = server.workspace
    record(workspace, "finished", {"report": "done"})
    write_bytes(workspace.report, b"<p>the report</p>")
    assert get(server, "/report")[:2] == (200, "<p>the report</p>")


def test_a_record_that_cannot_be_read_is_an_answer_to_try_again(server: Server) -> None:
    write_bytes(server.workspace.state / "runs" / "1" / "run.json", b"{")
    assert get(server, "/now")[0] == 503


def test_the_browser_is_opened_only_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def interrupted(server: Server) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report_follow.webbrowser, "open", opened.append)
    monkeypatch.setattr(Server, "serve_forever", interrupted)
    report_follow.follow(Workspace(tmp_path), show=False)
    assert opened == []
    assert "http://127.0.0.1:" in capsys.readouterr().out
    report_follow.follow(Workspace(tmp_path), show=True)
    assert opened[0] in capsys.readouterr().out
