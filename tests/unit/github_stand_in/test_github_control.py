"""Control over HTTP, and the stand-in as a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from certipy import Certipy
from github import GitHub, running
from github.control import METHODS
from github_client import CONTROL, ask
from project import PROJECT
from requests import Response


def control(url: str, method: str, **arguments: Any) -> Response:
    return requests.post(f"{url}/_control/{method}", json=arguments, headers=CONTROL, timeout=5)


def test_control_calls_methods_of_the_state(github: GitHub, url: str) -> None:
    made = control(url, "add_user", login="dora").json()
    assert (made["id"], made["login"]) == (github.user("dora").id, "dora")
    assert control(url, "set_member", organization="acme", login="dora", public=True).json() is None
    assert github.organization("acme").has(github.user("dora"), publicly=True)
    token = control(url, "issue_token", login="dora", client_id="client", scopes="read:org").json()
    assert ask(url, "/user", token).json()["login"] == "dora"
    assert control(url, "count", path="/user").json() == 1
    # It works while GitHub is down, so that it can be recovered.
    control(url, "break_down", status=503)
    assert ask(url, "/user", token).status_code == 503
    control(url, "recover")
    assert ask(url, "/user", token).status_code == 200
    assert {asked["path"] for asked in requests.get(f"{url}/_control/requests", headers=CONTROL, timeout=5).json()} == {
        "/user"
    }


@pytest.mark.parametrize(
    ("method", "arguments", "status"),
    [
        ("add_user", {"login": "alice"}, 422),
        ("add_user", {"name": "no login"}, 422),
        ("delete_user", {"login": "nobody"}, 404),
        ("exchange", {}, 404),
        ("__init__", {}, 404),
    ],
)
def test_control_reports_errors(url: str, method: str, arguments: dict[str, Any], status: int) -> None:
    assert control(url, method, **arguments).status_code == status


def test_control_lists_existing_methods() -> None:
    assert not METHODS - set(dir(GitHub))


def test_control_needs_its_token(github: GitHub, url: str) -> None:
    for headers in ({}, {"X-Control-Token": "wrong"}):
        assert requests.post(f"{url}/_control/recover", headers=headers, timeout=5).status_code == 403
        assert requests.get(f"{url}/_control/requests", headers=headers, timeout=5).status_code == 403
    with running(github) as without:
        answer = requests.post(f"{without}/_control/recover", headers={"X-Control-Token": ""}, timeout=5)
        assert answer.status_code == 403


def test_separate_process_with_https(tmp_path: Path) -> None:
    certipy = Certipy(store_dir=str(tmp_path))
    certipy.create_ca("authority")
    made = certipy.create_signed_pair("github", "authority", alt_names=["IP:127.0.0.1"])["files"]
    command = [sys.executable, "-m", "github", "--port", "0", "--https", made["cert"], made["key"]]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "tests"), "GITHUB_CONTROL_TOKEN": "control"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("https://127.0.0.1:")
            session = requests.Session()
            session.trust_env, session.verify = False, made["ca"]
            answer = session.post(f"{url}/_control/add_user", json={"login": "a"}, headers=CONTROL, timeout=5)
            assert answer.json()["login"] == "a"
        finally:
            process.terminate()


def test_process_without_control_token_is_refused() -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "tests"), "GITHUB_CONTROL_TOKEN": ""}
    done = subprocess.run(
        [sys.executable, "-m", "github"], env=environment, capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 2
    assert "GITHUB_CONTROL_TOKEN is not set" in done.stderr
