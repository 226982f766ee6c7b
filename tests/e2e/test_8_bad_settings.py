"""Bad input to a running deployment: a clear message, nothing changed, no traceback."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import yaml
from e2e.client import NewUser, User
from e2e.deployment import PROJECT, Deployment, Run, containers, docker, inspect

CATALOGUE: list[dict[str, Any]] = yaml.safe_load((PROJECT / "roles/images/defaults/main.yml").read_text())[
    "images_environments"
]


@contextmanager
def nothing_changes(deployment: Deployment) -> Iterator[None]:
    """Containers, volumes, networks, image tags and files are the same afterwards."""
    before = deployment.state()
    yield
    assert deployment.state() == before


def assert_reported(run: Run, *words: str) -> None:
    """The run failed with these words, and without a traceback."""
    assert run.code == 2
    assert [text for text in words if text not in run.output] == []
    assert "Traceback" not in run.output


def one_more(**entry: Any) -> dict[str, Any]:
    """Return the settings that add an environment to the catalogue."""
    return {"images_environments": [*CATALOGUE, {"description": "-", "title": entry["slug"], **entry}]}


def assert_offers_the_old_list(user: User) -> None:
    page = user.server().spawn_page().text
    assert page.count('name="profile"') == len(CATALOGUE)
    assert all(f'value="{entry["slug"]}"' in page for entry in CATALOGUE)


def test_run_reports_all_problems_at_once(deployment: Deployment) -> None:
    catalogue = one_more(slug="geo", pipp=["geopandas"])
    with nothing_changes(deployment):
        run = deployment.run(settings={**catalogue, "preflight_disk_min_gb": 1_000_000, "hub_server_cpus": "two"})
    assert_reported(
        run,
        "nothing was changed",
        f'images_environments[{len(CATALOGUE)}] (slug "geo") (CLI option \'-e\'): unknown key "pipp"',
        "did you mean pip?",
        "GB are needed",
        "hub_server_cpus (CLI option '-e'): must be a number, but is a string",
    )


def test_run_reports_port_of_another_program(deployment: Deployment) -> None:
    other = f"{deployment.name}2"
    with socket.create_server(("127.0.0.1", 0)) as program, nothing_changes(deployment):
        port = program.getsockname()[1]
        run = deployment.run(
            settings={
                "jupyterhub_name": other,
                "jupyterhub_root": f"/srv/{other}",
                "jupyterhub_port": port,
                "network_users_subnet": "10.214.1.0/24",
            }
        )
    # The program is this test run itself, whatever its name.
    program_name = Path("/proc/self/comm").read_text().strip()
    assert_reported(run, f"port {port} is taken by {program_name}", f"jupyterhub_port: {port + 1}")
    assert not Path(f"/srv/{other}").exists()
    assert not containers(other)
    assert not docker("network", "ls", "--quiet", "--filter", f"name=^{other}-")


def test_failing_dockerfile_leaves_the_catalogue_alone(
    deployment: Deployment, new_user: NewUser, tmp_path: Path
) -> None:
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("ARG BASE\nFROM ${BASE}\nRUN echo 'the reason it gave' && exit 7\n")
    with nothing_changes(deployment):
        run = deployment.run(settings=one_more(slug="broken", dockerfile=str(tmp_path)))
    assert_reported(run, "env-broken", "the reason it gave", "code: 7")
    assert_offers_the_old_list(new_user("offered"))


def test_image_that_cannot_start_a_server_is_refused(deployment: Deployment, new_user: NewUser, tmp_path: Path) -> None:
    """It builds, and is tried before it is tagged."""
    (tmp_path / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nUSER root\nRUN rm -r /opt/jupyter\nUSER jovyan\n")
    with nothing_changes(deployment):
        run = deployment.run(settings=one_more(slug="hollow", dockerfile=str(tmp_path)))
    assert_reported(run, "env-hollow")
    assert_offers_the_old_list(new_user("offered"))


@pytest.mark.parametrize(
    ("index", "cause"),
    [
        # Neither is another machine: the first name is reserved (RFC 2606), the second is the build container itself.
        ("http://reader:canary-of-the-index@index.invalid/simple", "dns error"),
        ("http://127.0.0.1:9/simple", "Connection refused"),
    ],
)
def test_run_reports_unreachable_package_index(
    deployment: Deployment, new_user: NewUser, index: str, cause: str
) -> None:
    with nothing_changes(deployment):
        run = deployment.run(settings={**one_more(slug="far", pip=["cowsay"]), "images_pip_index_url": index})
    assert_reported(run, "env-far", "Failed to fetch", cause)
    assert "canary-of-the-index" not in run.output
    assert_offers_the_old_list(new_user("offered"))


# --- the operator's own files in the Hub of a Compose application

OWN_FILES = {
    "jupyterhub_config.py": "from team_hooks import before\n\nc.Spawner.pre_spawn_hook = before\n",
    "team_hooks.py": "async def before(spawner): ...\n",
    "templates/login.html": '{% extends "templates/login.html" %}',
    "logo.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


def test_compose_application_takes_own_files_that_are_mounted(deployment: Deployment, tmp_path: Path) -> None:
    """As docs/how-to/hub-files.md says, looked at by what its Hub runs before it starts."""
    page = (PROJECT / "docs/how-to/hub-files.md").read_text().partition("As a Compose application")[2]
    [mount] = re.findall(r'volumes: \["./hub_files:(.*?):ro"\]', page)
    traits = {"logo_file": f"{mount}/logo.svg", "template_paths": [f"{mount}/templates"]}
    variables = {
        "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT": "1",
        "JUPYTERHUB_SETTINGS": json.dumps({"hub_traits": {"JupyterHub": traits}}),
        "GITHUB_CLIENT_ID": "Ov23liGq0Zb1yTtRkPw7",
        "GITHUB_CLIENT_SECRET": token_hex(20),
        "OAUTH_CALLBACK_URL": "https://hub.team.dev/hub/oauth_callback",
        "ALLOWED_GITHUB_ORGS": "acme",
    }
    for name, text in OWN_FILES.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    for name in ("cookie_secret", "crypt_key", "proxy_token", "github_client_secret"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(token_hex(32))
    image = inspect(deployment.hub)[0]["Image"]
    options = ["--rm", "--network=none", "--user=0", f"--volume={tmp_path}:/run/secrets:ro"]
    options += [f"--volume={PROJECT}/compose/hub.json:/etc/jupyterhub/hub.json:ro"]
    options += [f"--env={name}={value}" for name, value in variables.items()]
    own, check = f"--volume={tmp_path}/own:{mount}:ro", ("python", "-m", "jupyterhub_ansible", "check")
    assert docker("run", *options, own, image, *check) == "OK"
    assert f"JupyterHub.logo_file: there is no {mount}/logo.svg" in docker("run", *options, image, *check, check=False)
    (tmp_path / "own/team_hooks.py").write_text("\n1 / 0\n")
    said = docker("run", *options, own, image, *check, check=False)
    assert said == "team_hooks.py, line 2: ZeroDivisionError: division by zero"
