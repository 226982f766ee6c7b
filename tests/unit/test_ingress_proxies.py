"""Caddy's HTTP proxies: what the role writes and runs, in a real shell with a stand-in for Caddy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from project import ROLES

PROXY = "http://builder:it's%20a%2Fpassword:%40$HOME`@proxy.example.org:3128"
SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"


def rendered(**settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the secret files and the container's command that the role makes of settings."""
    loader = DataLoader()
    given: dict[str, Any] = {}
    for role in ("images", "ingress"):
        given |= loader.load_from_file(str(ROLES / role / "vars/main.yml"), trusted_as_template=True)
    templar = Templar(loader, {**given, "ingress_caddy": {}, **settings})
    return templar.template(given["__ingress_proxies"]), templar.template(given["__ingress_command"])


@pytest.mark.parametrize(
    ("no_proxy", "bypassed"),
    [(None, "proxy,localhost,127.0.0.1"), ("10.0.0.0/8", "10.0.0.0/8,proxy,localhost,127.0.0.1")],
)
def test_caddy_gets_the_proxies_by_a_file_alone(tmp_path: Path, no_proxy: str | None, bypassed: str) -> None:
    others = {} if no_proxy is None else {"images_no_proxy": no_proxy}
    files, command = rendered(images_http_proxy="http://plain:1", images_https_proxy=PROXY, **others)
    (tmp_path / "proxies.env").write_text(files["proxies.env"]["value"])
    # Anyone may see a process's arguments.
    assert "builder" not in "".join(command)
    here = [each.replace("/etc/caddy/secrets", str(tmp_path)) for each in command]
    at = here.index("caddy", here.index("caddy") + 1)
    done = subprocess.run(
        [*here[:at], sys.executable, "-c", SHOW, *here[at:]],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": "/x"},
    )
    arguments, environment = json.loads(done.stdout)
    assert arguments == ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    found = {name: value for name, value in environment.items() if name.endswith("_PROXY")}
    assert found == {"HTTP_PROXY": "http://plain:1", "HTTPS_PROXY": PROXY, "NO_PROXY": bypassed}


@pytest.mark.parametrize(
    "settings", [{}, {"images_https_proxy": PROXY, "ingress_caddy": {"certificate_file": "/c", "key_file": "/k"}}]
)
def test_without_need_there_is_neither(settings: dict[str, Any]) -> None:
    """With a certificate of one's own, Caddy asks nobody."""
    files, command = rendered(**settings)
    assert (files, command[:2]) == ({}, ["caddy", "run"])
