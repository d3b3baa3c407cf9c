"""Serves a Bento of the store in the foreground."""

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

from mmcore.serving.package import bento_path
from mmcore.serving.requests import FOLDER
from mmcore.settings import ServeSettings

KEY = "MMCORE_API_KEY"


def serve(tag: str, settings: ServeSettings, store: Path, requests: Path) -> NoReturn:
    """Become the server of the Bento `tag`; Ctrl-C ends it. `requests`: where it keeps those that it is unsure of.

    LookupError if the store does not hold it, ValueError if the address cannot be used or would let other machines
    in without a key.
    """
    bento = bento_path(store, tag)
    if not bento.is_dir():
        raise LookupError(f"the Bento store {store} holds no {tag}")
    check_address(settings)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"BENTOML_HOME": str(store.resolve()), "BENTOML_DO_NOT_TRACK": "True", FOLDER: str(requests)}
    # From the Bento's own folder, so that nothing of the checkout can be imported.
    os.chdir(bento)
    where = ["--host", settings.host, "--port", str(settings.port)]
    os.execve(sys.executable, [sys.executable, "-m", "bentoml", "serve", tag, *where], environment)


def check_address(settings: ServeSettings) -> None:
    """ValueError if `host` and `port` cannot be bound, or if they would be open to other machines without a key."""
    try:
        address = ipaddress.ip_address(settings.host)
    except ValueError:
        raise ValueError(f"serve.host '{settings.host}' is no IP address; 127.0.0.1 means this machine only") from None
    if not address.is_loopback and not os.environ.get(KEY):
        raise ValueError(
            f"serve.host {settings.host} lets other machines in: set the environment variable {KEY}, or use 127.0.0.1"
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ValueError(
                f"port {settings.port} on {settings.host} cannot be used ({error.strerror}); choose another: "
                f"--set serve.port={settings.port + 1}"
            ) from None
