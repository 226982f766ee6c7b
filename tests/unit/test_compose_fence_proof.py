"""The proof of the fence: what is open and what is closed."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from jupyterhub_ansible.compose import fence_proof
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.rules import probe
from jupyterhub_ansible.spawner import fence_check

from plugins.modules import fence_proof as role_s_proof


def test_probes_log_where_the_engine_can_read_it() -> None:
    """Whatever driver the engine has for others: with `none` or `syslog`, `docker logs` fails."""
    engine = MagicMock()
    engine.inspect_image.return_value = {"Config": {"Labels": {}}}
    with fence_proof.Prober(engine, "hub", "image")._container("users", "code", ""):
        pass
    assert engine.create_host_config.call_args.kwargs["log_config"]["type"] == "json-file"


def test_what_is_open_and_what_is_closed() -> None:
    ways = {"the Hub": "hub:8081"}
    fence_proof.require({"the Hub": True, "another server": False}, ways)
    with pytest.raises(ComposeError, match="from a user's server another server is open, the Hub is closed"):
        fence_proof.require({"the Hub": False, "another server": True}, ways)


def test_refused_connection_counts_as_reached_and_timeout_does_not() -> None:
    """For a closed way with a listener, a refusal comes from a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as closed:
            refusing = closed.getsockname()[1]
        ways = {"listens": f"127.0.0.1:{port}", "refuses": f"127.0.0.1:{refusing}", "nobody": "nobody.invalid:9"}
        ways["rejected"] = ways["refuses"]
        tried = json.dumps([ways, ["refuses", "nobody"]])
        done = subprocess.run(["python3", "-c", probe.TRY, tried], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"listens": True, "refuses": True, "nobody": False, "rejected": False}


def test_role_and_hub_use_the_same_file() -> None:
    assert str(fence_check.CLOSED) == role_s_proof.CLOSED


@pytest.mark.parametrize(("code", "expected"), [(0, True), (3, True), (2, False), (5, False)])
def test_unknown_name_is_an_answer(tmp_path: Path, code: int, expected: bool) -> None:
    """A resolver's failure is not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))

        def answer() -> None:
            asked, client = resolver.recvfrom(512)
            resolver.sendto(asked[:2] + bytes([0x81, 0x80 | code]) + asked[4:], client)

        thread = threading.Thread(target=answer)
        thread.start()
        (tmp_path / "resolv.conf").write_text("search example.org\nnameserver 127.0.0.1\n")
        code_of_it = probe.TRY.replace("/etc/resolv.conf", str(tmp_path / "resolv.conf")).replace(
            "(server, 53)", f"(server, {resolver.getsockname()[1]})"
        )
        ways = json.dumps([{probe.NAMES: probe.NAMES}, []])
        done = subprocess.run(["python3", "-c", code_of_it, ways], capture_output=True, text=True, check=True)
        thread.join(timeout=10)
    assert json.loads(done.stdout) == {probe.NAMES: expected}
