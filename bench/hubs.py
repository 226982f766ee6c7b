"""The two Hubs to compare: ours as deployed by the playbook, and stock JupyterHub with DockerSpawner."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from e2e.client import User, eventually
from e2e.deployment import docker

from .project import NAME, PROJECT, ROOT, SETTINGS, base_image, image_of

STOCK = f"{NAME}-stock"
STOCK_IMAGE = f"{NAME}/stock:latest"
STOCK_PORT = SETTINGS["jupyterhub_port"] + 1
PULL_PORT = SETTINGS["jupyterhub_port"] + 2
"""Port of the registry that an image is pulled from."""
PULLERS = "pullers"
"""The group of our Hub whose members may use images of that registry (inventory.yml)."""
STOCK_SUBNET, STOCK_RANGE = "10.217.1.0/24", "10.217.1.128/25"


@dataclass(frozen=True)
class Hub:
    """A running Hub."""

    url: str
    password: str
    container_prefix: str

    def log_in(self, name: str) -> User:
        """Log a user in and return the session."""
        user = User(self.url, name, self.password)
        user.login().raise_for_status()
        return user

    def container(self, user: str) -> str:
        """Return the name of the container with a user's server."""
        return self.container_prefix + user


def ours() -> Hub:
    """Return the Hub that the playbook deployed."""
    url = f"http://{SETTINGS['jupyterhub_address']}:{SETTINGS['jupyterhub_port']}"
    admin = User(url, "admin", (ROOT / "hub/secrets/admin_password").read_text().strip())
    admin.login().raise_for_status()
    for path, body in (
        ("users/puller", {}),
        (f"groups/{PULLERS}", {}),
        (f"groups/{PULLERS}/users", {"users": ["puller"]}),
    ):
        admin.api("POST", path, json=body).raise_for_status()
    return Hub(url, (ROOT / "hub/secrets/user_password").read_text().strip(), f"{NAME}-user-")


@contextmanager
def environment_file(**variables: str) -> Iterator[str]:
    """Write a file for `docker run --env-file`, which keeps secrets out of the process list."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(f"{key}={value}\n" for key, value in variables.items())
        file.flush()
        yield file.name


def build_stock_image() -> None:
    """Build the stock user's image on our base, from our lock."""
    folder = Path(__file__).parent / "stock"
    context = PROJECT / "images/singleuser"
    base, label = f"BASE={base_image()}", "jupyterhub-ansible.kind=stock"
    docker(
        "build", "--tag", STOCK_IMAGE, "--file", str(folder / "Dockerfile"),
        "--build-arg", base, "--label", label, str(context),
    )  # fmt: skip
    # The image of an earlier benchmark lost its tag to this one.
    docker("image", "prune", "--force", "--filter", f"label={label}")


def stock(memory_mb: int, cpus: float) -> Hub:
    """Start stock JupyterHub and DockerSpawner, with its own proxy.

    It uses our images, so JupyterHub, DockerSpawner and the proxy have the same versions as ours.
    """
    token, password = secrets.token_hex(32), secrets.token_hex(16)
    # As in our network, servers get addresses of the upper half; `Bare` uses one of the lower half.
    docker("network", "create", "--subnet", STOCK_SUBNET, "--ip-range", STOCK_RANGE, STOCK)
    with environment_file(CONFIGPROXY_AUTH_TOKEN=token) as variables:
        docker(
            "run", "--detach", "--name", f"{STOCK}-proxy", "--network", STOCK, "--env-file", variables,
            "--publish", f"127.0.0.1:{STOCK_PORT}:8000", image_of(f"{NAME}-proxy"),
            "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001",
            f"--default-target=http://{STOCK}-hub:8081", f"--error-target=http://{STOCK}-hub:8081/hub/error",
        )  # fmt: skip
    config = Path(__file__).parent / "stock/jupyterhub_config.py"
    with environment_file(
        CONFIGPROXY_AUTH_TOKEN=token, BENCH_PASSWORD=password, BENCH_NAME=STOCK, BENCH_IMAGE=STOCK_IMAGE,
        BENCH_MEMORY=f"{memory_mb}M", BENCH_CPUS=str(cpus),
    ) as variables:  # fmt: skip
        docker(
            "run", "--detach", "--name", f"{STOCK}-hub", "--network", STOCK, "--env-file", variables, "--user", "0",
            "--volume", "/var/run/docker.sock:/var/run/docker.sock",
            "--volume", f"{config}:/etc/jupyterhub_config.py:ro",
            image_of(f"{NAME}-hub"), "jupyterhub", "--config", "/etc/jupyterhub_config.py",
        )  # fmt: skip
    hub = Hub(f"http://127.0.0.1:{STOCK_PORT}", password, f"{STOCK}-")
    eventually("the stock Hub", lambda: _answers(hub))
    return hub


def _answers(hub: Hub) -> bool:
    try:
        return User(hub.url, "", "").request("GET", "/hub/health").ok
    except requests.ConnectionError:
        return False
