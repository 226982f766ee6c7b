"""The places where a secret of the deployment might leak."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from e2e.deployment import ARTEFACTS, LABEL, Deployment, docker

Places = Iterator[tuple[str, str]]


def secrets(deployment: Deployment) -> dict[str, str]:
    """Return every secret of the deployment, by its file name."""
    return {
        f"{path.parent.parent.name}/{path.name}": path.read_text().strip()
        for path in deployment.root.glob("*/secrets/*")
    }


def found(wanted: Mapping[str, str], places: Places) -> list[str]:
    """Return which secret is in which place, without its value."""
    return [f"{name} in {place}" for place, text in places for name, value in wanted.items() if value in text]


def of_the_engine(deployment: Deployment) -> Places:
    """What the engine reports about containers, networks, volumes and images."""
    for name in deployment.containers():
        yield f"docker inspect {name}", docker("inspect", name)
        yield f"docker logs {name}", docker("logs", name)
    for kind in ("network", "volume"):
        for name in docker(kind, "ls", "--quiet", "--filter", f"label={LABEL}={deployment.name}").split():
            yield f"docker {kind} inspect {name}", docker(kind, "inspect", name)
    for image in docker("images", "--quiet", f"{deployment.name}/*").split():
        yield f"docker image inspect {image}", docker("image", "inspect", image)
        yield f"docker history {image}", docker("history", "--no-trunc", image)


def of_layers(deployment: Deployment) -> Places:
    """Every byte of every file in the images."""
    images = docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{deployment.name}/*").split()
    with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as save:
        assert save.stdout
        end = b""
        while chunk := save.stdout.read(2**24):
            # A secret that spans two chunks is found in the second.
            yield "an image's layer", (end + chunk).decode("latin-1")
            end = chunk[-1000:]
    assert save.returncode == 0


def _processes() -> Iterator[tuple[Path, str, str]]:
    """Yield each process of the machine with its command line and environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text(errors="replace")
            environment = (folder / "environ").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        except PermissionError:
            environment = ""  # a container's PID 1, which even root may not read
        yield folder, command, environment


def of_processes(deployment: Deployment) -> Places:
    """Command lines and environments, including those of users' servers."""
    of_proxy = docker("top", deployment.proxy, "-eo", "pid").split()[1:]
    of_hub = docker("top", deployment.hub, "-eo", "pid").split()[1:]
    seen = set()
    for folder, command, environment in _processes():
        if environment:
            seen.add(folder.name)
        yield f"command line of {folder.name}", command
        # configurable-http-proxy takes its token from the environment only: it is in its own processes,
        # readable by root and by themselves.
        if folder.name not in of_proxy:
            yield f"environment of {folder.name} ({command})", environment
    assert {of_proxy[0], of_hub[0]} <= seen


def of_files(deployment: Deployment) -> Places:
    """Files of the deployment that are readable by others."""
    run = Path("/run").glob(f"{deployment.name}-*")
    units = Path("/etc/systemd/system").glob(f"{deployment.name}-*")
    for path in [*deployment.root.rglob("*"), *run, *units]:
        if path.is_file() and path.stat().st_mode & stat.S_IROTH:
            yield str(path), path.read_text(errors="replace")


def of_runs() -> Places:
    """The output of all runs of the playbook."""
    for log in sorted(ARTEFACTS.glob("run-*.log")):
        # Without the command line, which contains the test's settings.
        yield log.name, log.read_text().partition("\n")[2]
