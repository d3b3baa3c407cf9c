import dataclasses
import socket
from pathlib import Path

import pytest

from mmcore.serving.serve import check_address, serve
from tests.serving.test_uploads import LIMITS


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_loopback_address_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMCORE_API_KEY", raising=False)
    check_address(dataclasses.replace(LIMITS, port=free()))


@pytest.mark.parametrize("key", [None, ""])
def test_another_address_needs_one(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.delenv("MMCORE_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("MMCORE_API_KEY", key)
    with pytest.raises(ValueError, match="set the environment variable MMCORE_API_KEY"):
        check_address(dataclasses.replace(LIMITS, host="0.0.0.0", port=free()))


def test_with_a_key_any_address_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCORE_API_KEY", "secret")
    check_address(dataclasses.replace(LIMITS, host="0.0.0.0", port=free()))


def test_a_port_in_use_is_named_with_another_to_try() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} on 127.0.0.1 cannot be used.*serve.port={port + 1}"):
            check_address(dataclasses.replace(LIMITS, port=port))


def test_a_host_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="'localhost' is no IP address"):
        check_address(dataclasses.replace(LIMITS, host="localhost"))


def test_a_bento_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="holds no digits:v1"):
        serve("digits:v1", LIMITS, tmp_path, tmp_path / "requests")
