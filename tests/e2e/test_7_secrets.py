"""None of the deployment's secrets shows anywhere but in its file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.client import User
from e2e.deployment import ARTEFACTS, LABEL, Deployment, docker

Places = Iterator[tuple[str, str]]


def secrets(deployment: Deployment) -> dict[str, str]:
    """Return every secret, by its file."""
    return {
        f"{path.parent.parent.name}/{path.name}": path.read_text().strip()
        for path in deployment.root.glob("*/secrets/*")
    }


def found(deployment: Deployment, places: Places) -> list[str]:
    """Return which secret shows where; the value is told to nobody."""
    wanted = secrets(deployment)
    return [f"{name} in {place}" for place, text in places for name, value in wanted.items() if value in text]


def test_there_are_secrets_to_search_for(deployment: Deployment) -> None:
    names = {"cookie_secret", "crypt_key", "proxy_token", "user_password", "admin_password"}
    expected = {f"hub/{name}" for name in names} | {"proxy/token"}
    assert secrets(deployment).keys() == expected
    # Short ones would be found by chance.
    assert all(len(value) >= 16 for value in secrets(deployment).values())
    assert found(deployment, iter([("a copy", f"x{deployment.secret('crypt_key')}x")])) == ["hub/crypt_key in a copy"]


def test_secret_files_are_their_containers_only(deployment: Deployment) -> None:
    for role, owner in (("hub", 64101), ("proxy", 64102)):
        folder = deployment.root / role / "secrets"
        modes = {path: (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in (folder, *folder.iterdir())}
        assert modes == {path: (0o700 if path == folder else 0o600, owner) for path in modes}


@pytest.fixture
def busy(alice: User, bob: User) -> None:
    """Servers run, and have been used: what they print is in the logs."""
    assert alice.server().run("1").result == bob.server().run("1").result == "1"


@pytest.mark.usefixtures("busy")
def test_not_in_what_the_engine_tells(deployment: Deployment) -> None:
    def places() -> Places:
        for name in deployment.containers():
            yield f"docker inspect {name}", docker("inspect", name)
            yield f"docker logs {name}", docker("logs", name)
        for kind in ("network", "volume"):
            for name in docker(kind, "ls", "--quiet", "--filter", f"label={LABEL}={deployment.name}").split():
                yield f"docker {kind} inspect {name}", docker(kind, "inspect", name)
        for image in docker("images", "--quiet", f"{deployment.name}/*").split():
            yield f"docker image inspect {image}", docker("image", "inspect", image)
            yield f"docker history {image}", docker("history", "--no-trunc", image)

    assert found(deployment, places()) == []


def processes() -> Iterator[tuple[Path, str, str]]:
    """Yield each process of the machine with its command line and environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(errors="replace")
            environment = (folder / "environ").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        except PermissionError:
            environment = ""  # a container's PID 1, closed to everybody
        yield folder, command, environment


@pytest.mark.usefixtures("busy")
def test_not_in_the_process_list(deployment: Deployment) -> None:
    of_proxy = docker("top", deployment.proxy, "-eo", "pid").split()[1:]
    of_hub = docker("top", deployment.hub, "-eo", "pid").split()[1:]

    def places() -> Places:
        seen = set()
        for folder, command, environment in processes():
            if environment:
                seen.add(folder.name)
            yield f"command line of {folder.name}", command
            # configurable-http-proxy takes its token from the environment only: its own processes have it,
            # readable by root and themselves.
            if folder.name not in of_proxy:
                yield f"environment of {folder.name} ({command})", environment
        assert {of_proxy[0], of_hub[0]} <= seen

    assert found(deployment, places()) == []


def test_not_in_files_that_others_may_read(deployment: Deployment) -> None:
    def places() -> Places:
        run = Path("/run").glob(f"{deployment.name}-*")
        units = Path("/etc/systemd/system").glob(f"{deployment.name}-*")
        for path in [*deployment.root.rglob("*"), *run, *units]:
            if path.is_file() and path.stat().st_mode & stat.S_IROTH:
                yield str(path), path.read_text(errors="replace")

    assert found(deployment, places()) == []


def test_not_in_the_output_of_any_run(deployment: Deployment) -> None:
    """The first of them, with -vvv and --diff, made the secrets."""
    logs = sorted(ARTEFACTS.glob("run-*.log"))
    assert " -vvv --diff" in logs[0].read_text().splitlines()[0]
    assert "TASK [hub : " in logs[0].read_text()
    assert found(deployment, ((log.name, log.read_text()) for log in logs)) == []


def test_given_secrets_are_not_in_the_output_either(deployment: Deployment, tmp_path: Path) -> None:
    """Secrets that the operator sets, as from a vault: what a run would change is told without them."""
    given = {
        name: os.urandom(32).hex()
        for name in ("hub_user_password", "hub_admin_password", "hub_cookie_secret", "hub_crypt_key", "proxy_token")
    }
    settings = tmp_path / "secrets.yml"
    settings.write_text("".join(f'{name}: "{value}"\n' for name, value in given.items()))
    before = deployment.state()
    run = deployment.run("-vvv", "--check", "--diff", "-e", f"@{settings}").succeeded()
    assert run.changed > 0
    assert [name for name, value in given.items() if value in run.output] == []
    assert deployment.state() == before
