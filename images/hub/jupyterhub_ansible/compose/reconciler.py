"""Makes what servers need besides the Hub (networks, proxy, fence, images) before it starts, and repairs it later."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from logging import Logger
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors

from ..spawner import errors, fence_check
from ..engine import kernel_limits
from ..engine.calls import CONNECTIONS
from ..engine.errors import DOCKER_ERRORS
from ..settings.model import Settings
from ..rules.users_network import plan
from ..rules.probe import NAMES, TRIES, open_ones
from . import fence_proof, secret_files
from .errors import ComposeError
from .fence import Fence
from .images import Images
from .networks import Networks

HUB_PORT, PROXY_PORT, API_PORT = 8081, 8000, 8001
READY = Path("/srv/jupyterhub/able")
"""Exists while the Hub can start servers: the health check tests for it (compose/docker-compose.yml)."""
STAMP = Path("/srv/jupyterhub/fence-proof")
"""The fingerprint of the last proof: another Hub, proxy, fence or boot needs a new one."""
NEW_TOKEN = Path("/srv/jupyterhub", secret_files.NEW_TOKEN)
WAIT_S = 120
"""How long the Hub's start waits for the proxy, for the fence, and for an address that the last Hub still holds."""
PAUSE_S = 5
"""Between attempts of a proof: a firewall that is just reloading is done by then."""
RETRY_S = 600
"""A network that was closed is opened for another proof, which takes some seconds, after this long."""
_TRUSTED_S = 5
"""How long a positive answer about the fence is cached."""
T = TypeVar("T")
_OWN = re.compile(r"/containers/([0-9a-f]{64})/")


def own_id(mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the id of this container, from the mount of its /etc/hosts.

    Raises:
        ComposeError: this is not a container of Docker's.
    """
    found = _OWN.search(mounts.read_text())
    if not found:
        raise ComposeError("The Hub does not run in a Docker container; see compose/README.md")
    return found[1]


class Reconciler:
    """Makes and maintains networks, fence and images."""

    def __init__(self, settings: Settings, log: Logger, client: docker.APIClient | None = None) -> None:
        if settings.compose is None:
            raise ComposeError("hub.json: compose is missing; use the image that compose/ builds")
        self.settings, self.log, self.plan = settings, log, plan(settings.network_users_subnet)
        # Without a timeout, a hung engine would block calls for ever.
        self.client = client or docker.APIClient(version="auto", timeout=60, max_pool_size=CONNECTIONS)
        self.id = own_id()
        self.image = self._own_image()
        self.networks = Networks(self.client, settings.jupyterhub_name, self.plan, log)
        self.images = Images(self.client, settings.jupyterhub_name, settings.compose.hashes, log)
        self.fence = Fence(self.client, settings.jupyterhub_name, self.plan, settings.hub_reserve_memory_mb, self.image)
        self.prober = fence_proof.Prober(self.client, settings.jupyterhub_name, self.image)
        self._lock = threading.Lock()
        self._trusted_until = 0.0
        self._new_proxy = False
        self.proxy_addresses: frozenset[str] = frozenset()
        """The proxy's addresses on all networks: Docker chooses by which of them it reaches the Hub."""
        self._degraded_reason = ""
        self._retry_at = 0.0

    def _own_image(self) -> str:
        """Return the image of this container.

        Raises:
            ComposeError: the engine at the socket cannot run a Hub, or is another one than that of this container.
        """
        if "name=rootless" in (self.client.info().get("SecurityOptions") or []):
            raise ComposeError(
                "The Docker engine is rootless: it cannot give the Hub's files and networks their owners and addresses."
                " Use the engine of the system: docker --context default compose up --build --detach"
            )
        try:
            return str(self.client.inspect_container(self.id)["Image"])
        except docker.errors.NotFound:
            raise ComposeError(
                "Docker's socket belongs to another engine than the one that runs the Hub; has DOCKER_HOST, or a"
                " context, another one? Use the engine of the system: docker --context default compose up --build --detach"
            ) from None

    # --- at the start

    def prepare(self) -> None:
        """Make everything, and prove the fence.

        If the proof finds it open, the Hub starts nevertheless, but no servers do: otherwise Docker would restart the
        Hub again and again, and each time the network would be opened for another proof.

        Raises:
            ComposeError: anything else is wrong, and stays so.
        """
        READY.unlink(missing_ok=True)
        if missing := self.images.tag(self._images):
            # Not fatal: the other environments work.
            self.log.error("Images are missing: %s. Build them: docker compose build", ", ".join(missing))
        if low := kernel_limits.low():
            self.log.warning(
                "One user's server can exhaust kernel limits that all of them share. To raise them, put these lines"
                " into /etc/sysctl.d/zz-jupyterhub.conf and run sysctl --system: %s",
                ", ".join(low),
            )
        # First, since this helper sees the machine's default route.
        self.fence.ensure()
        if self.networks.ensure(self.fence.mtu()):
            # The proxy's API listens on the address that it had on the former network.
            NEW_TOKEN.touch()
        self._retry(self._attach_hub)
        self._retry(lambda: self._require_fence(self.fence.in_force()))
        self._restart_proxy_for_new_token()
        proxy = self._retry(self._attach_proxy)
        # A restart by Docker after a crash, not by an operator: nothing has been fixed meanwhile.
        crashed = self.client.inspect_container(self.id).get("RestartCount")
        self._retry_at = time.monotonic() + RETRY_S if crashed else 0.0
        try:
            self._prove_unless_isolated(proxy)
        except (ComposeError, *DOCKER_ERRORS) as error:
            if not fence_check.CLOSED.exists():
                raise
            self._mark_degraded(error)
        else:
            READY.touch()

    @property
    def _images(self) -> set[str]:
        return {environment.image for environment in self.settings.images_environments}

    def _retry(self, step: Callable[[], T]) -> T:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return step()
            except ComposeError as error:
                if time.monotonic() > deadline:
                    raise
                self.log.info("Waiting: %s", error)
            time.sleep(1)

    def _attach_hub(self) -> None:
        me = self.client.inspect_container(self.id)
        self.networks.attach(me, api="hub", alias="hub", address=self.plan.hub)

    def _restart_proxy_for_new_token(self) -> None:
        """Restart a proxy that still has the old token."""
        if NEW_TOKEN.exists():
            if proxy := self.networks.proxy(self.plan.proxy):
                self.client.restart(proxy["Id"], timeout=1)
            NEW_TOKEN.unlink()

    def _attach_proxy(self) -> Mapping[str, Any]:
        proxy = self.networks.proxy(self.plan.proxy)
        if proxy is None:
            raise ComposeError("The proxy is not running; start it: docker compose up --detach")
        if self.networks.attach(proxy, api="proxy-api", alias="proxy", address=self.plan.proxy):
            self._new_proxy = True
            proxy = dict(self.client.inspect_container(proxy["Id"]))
        networks = proxy["NetworkSettings"]["Networks"].values()
        self.proxy_addresses = frozenset(network["IPAddress"] for network in networks if network.get("IPAddress"))
        return proxy

    def _require_fence(self, in_force: str) -> None:
        if not in_force:
            raise ComposeError(
                f"The fence around the users' network is not in force; why: docker logs {self.fence.container}"
            )

    def _fingerprint(self, proxy: Mapping[str, Any]) -> str:
        in_force = self.fence.in_force()
        self._require_fence(in_force)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        network = self.client.inspect_network(self.networks.users)["Id"]
        return "\n".join([boot, network, self.fence.digest, in_force, self.id, proxy["Id"]]) + "\n"

    def _prove_unless_isolated(self, proxy: Mapping[str, Any]) -> None:
        if fence_check.CLOSED.exists() and time.monotonic() < self._retry_at:
            # A recreated helper would have it open.
            self.fence.switch("shut")
            raise ComposeError(fence_check.CLOSED.read_text().strip())
        self._prove(proxy)

    def _prove(self, proxy: Mapping[str, Any]) -> None:
        """Prove the fence, unless it was proved since it was loaded."""
        if STAMP.exists() and STAMP.read_text() == self._fingerprint(proxy):
            return
        STAMP.unlink(missing_ok=True)
        self.prober.remove_leftovers()
        if lacks := self.fence.call("lacks"):
            self.log.warning("The fence: %s", lacks)
        control = proxy["NetworkSettings"]["Networks"][self.networks.control]["IPAddress"]
        open_ways = {"the Hub": f"hub:{HUB_PORT}", "the proxy's public port": f"proxy:{PROXY_PORT}"}
        closed = {
            "the proxy's API": f"{self.plan.proxy}:{API_PORT}",
            "the proxy's API on the control network": f"{control}:{API_PORT}",
        }
        tried, reached = self._probe(proxy, open_ways, closed)
        if found := open_ones(reached, open_ways):
            self._isolate(found)
        fence_proof.require(reached, open_ways)
        if not reached[NAMES] and self.prober.host_resolves_names():
            self.log.warning("Users' servers cannot resolve names, but the machine can; see docs/troubleshooting.md")
        if self._fingerprint(proxy) != tried:
            # The rules were reloaded meanwhile: the next run proves those.
            return
        STAMP.write_text(tried)
        fence_check.CLOSED.unlink(missing_ok=True)
        self.log.info("The fence around the users' network is in force, as a container on it has proved")

    def _probe(
        self, proxy: Mapping[str, Any], open_ways: Mapping[str, str], closed: Mapping[str, str]
    ) -> tuple[str, dict[str, bool]]:
        """Return the fingerprint of the last attempt, and what it reached."""
        # If the network was closed, it is opened for a single attempt only.
        was_closed = fence_check.CLOSED.exists()
        self._retry_at = time.monotonic() + RETRY_S
        tried, reached = "", dict[str, bool]()
        try:
            self.fence.switch("open")
            for number in range(1 if was_closed else TRIES):
                time.sleep(PAUSE_S if number else 0)
                tried = self._fingerprint(proxy)
                users, other = self.networks.users, self.networks.control
                reached = self.prober.reached(users, self.plan.gateway, open_ways, closed, other)
                if not open_ones(reached, open_ways):
                    break
        except Exception:
            if was_closed:
                self.fence.switch("shut")
            raise
        return tried, reached

    def _isolate(self, found: list[str]) -> None:
        """Close the network except for Hub and proxy, and refuse to start servers."""
        message = (
            f"The fence around the users' network did not hold: from a user's server {', '.join(found)} could be"
            " reached.  So servers now reach Hub and proxy only, and none is started.  Are Docker's own rules gone"
            ' (systemctl restart docker restores them), or does it run with "iptables": false?  When that is fixed:'
            f" docker compose restart hub, or wait {RETRY_S // 60} minutes"
        )
        fence_check.CLOSED.write_text(message + "\n")
        self.fence.switch("shut")
        raise ComposeError(message)

    # --- while the Hub runs

    def reconcile(self) -> bool:
        """Restore what is missing; return whether the proxy was replaced, and so has no routes.

        If something cannot be restored, the Hub becomes unhealthy.
        """
        self._new_proxy = False
        try:
            self.networks.ensure()
            self.fence.ensure()
            self._attach_hub()
            proxy = self._attach_proxy()
            self._require_fence(self.fence.in_force())
            self._prove_unless_isolated(proxy)
        except (ComposeError, *DOCKER_ERRORS) as error:
            self._mark_degraded(error)
        else:
            self._degraded_reason = ""
            READY.touch()
        return self._new_proxy

    def _mark_degraded(self, error: Exception) -> None:
        if str(error) != self._degraded_reason:
            self.log.warning("Degraded: %s", error)
        self._degraded_reason = str(error)
        READY.unlink(missing_ok=True)

    def remove_old_images(self) -> None:
        """Remove images of environments that later builds replaced."""
        self.images.remove_old(self._images)

    def check_before_start(self, image: str) -> None:
        """Check that a server of this image may start.

        Raises:
            SpawnError: the fence is not in force, or the image is gone.
        """
        fence_check.require_not_closed()
        with self._lock:
            if time.monotonic() > self._trusted_until:
                if not self.fence.in_force():
                    raise fence_check.refusal(f"The fence is not in force; why: docker logs {self.fence.container}")
                self._trusted_until = time.monotonic() + _TRUSTED_S
        if self.images.tag([image], refresh=False):
            raise errors.missing_image("Compose", image)
