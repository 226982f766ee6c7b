"""What a Hub needs around it to start anybody's server: made before its start, looked at while it runs."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from logging import Logger
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors

from ..spawner import failures, fence_check
from ..engine import kernel_limits
from ..engine.calls import CONNECTIONS
from ..spawner.failures import DOCKER_ERRORS
from ..settings.model import Settings
from ..rules.users_network import plan
from ..rules.probe import NAMES, TRIES, open_ones
from . import entrypoint, fence_proof
from .errors import ComposeError
from .fence import Fence
from .images import Images
from .networks import Networks

HUB_PORT, PROXY_PORT, API_PORT = 8081, 8000, 8001
ABLE = Path("/srv/jupyterhub/able")
"""There while the Hub can start servers: the health check asks for it (compose/docker-compose.yml)."""
STAMP = Path("/srv/jupyterhub/fence-proof")
"""Remembers the last proof: another Hub, proxy, fence or boot is proved anew."""
NEW_TOKEN = Path("/srv/jupyterhub", entrypoint.NEW_TOKEN)
PATIENCE_S = 120
"""How long the proxy, an address that the last Hub holds, or the fence may take at the Hub's start."""
"""So many proofs in a row find open what must be closed, before all of it is closed."""
PAUSE_S = 5
"""Between them: another program that makes its rules again, as a firewall that is reloaded, is done by then."""
RETRY_S = 600
"""What was closed is opened for another proof, which takes some seconds, after so long."""
_TRUSTED_S = 5
"""A fence that was in force is asked about again after so long."""
T = TypeVar("T")
_OWN = re.compile(r"/containers/([0-9a-f]{64})/")


def own_id(mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the id of the container that this runs in: Docker keeps its /etc/hosts in a folder of that name.

    Raises:
        ComposeError: it runs in none of Docker's.
    """
    found = _OWN.search(mounts.read_text())
    if not found:
        raise ComposeError("The Hub runs in no container of Docker's; see compose/README.md")
    return found[1]


class Keeper:
    """Makes and keeps networks, fence and images."""

    def __init__(self, settings: Settings, log: Logger, client: docker.APIClient | None = None) -> None:
        if settings.compose is None:
            raise ComposeError("hub.json: compose is missing; use the Hub's image that compose/ builds")
        self.settings, self.log, self.plan = settings, log, plan(settings.network_users_subnet)
        # Without a bound, a call would stand still with an engine that does.
        self.client = client or docker.APIClient(version="auto", timeout=60, max_pool_size=CONNECTIONS)
        self.id = own_id()
        self.image = str(self.client.inspect_container(self.id)["Image"])
        self.networks = Networks(self.client, settings.jupyterhub_name, self.plan)
        self.images = Images(self.client, settings.jupyterhub_name, settings.compose.hashes, log)
        self.fence = Fence(self.client, settings.jupyterhub_name, self.plan, settings.hub_reserve_memory_mb, self.image)
        self.prober = fence_proof.Prober(self.client, settings.jupyterhub_name, self.image)
        self._asking = threading.Lock()
        self._trusted_until = 0.0
        self._new_proxy = False
        self.proxy_addresses: frozenset[str] = frozenset()
        """Of the proxy, on all networks: which of them it takes to the Hub is Docker's choice."""
        self._complaint = ""
        self._retry_at = 0.0

    # --- at the start

    def prepare(self) -> None:
        """Make everything, and prove the fence.

        Where a proof finds it open, the Hub starts all the same, and no server does: one that ended would be started
        again by Docker, and open it for another proof, over and over.

        Raises:
            ComposeError: something else is not as it must be, and stays so.
        """
        ABLE.unlink(missing_ok=True)
        if missing := self.images.tag(self._images):
            # The others can be used; who chooses one of these is told.
            self.log.error("No image is there for %s: build them, docker compose build", ", ".join(missing))
        if low := kernel_limits.low():
            self.log.warning(
                "One user's server can take all that this machine's kernel grants to all of them together. To change"
                " that, put these lines into /etc/sysctl.d/zz-jupyterhub.conf and run sysctl --system: %s",
                ", ".join(low),
            )
        self.networks.make()
        self.fence.keep()
        self._patiently(self._join)
        self._patiently(lambda: self._insist(self.fence.in_force()))
        self._hand_over_the_token()
        proxy = self._patiently(self._join_proxy)
        # Docker counts its own starts of a Hub that failed: nobody has mended anything meanwhile.
        failed = self.client.inspect_container(self.id).get("RestartCount")
        self._retry_at = time.monotonic() + RETRY_S if failed else 0.0
        try:
            self._prove_unless_closed(proxy)
        except (ComposeError, *DOCKER_ERRORS) as error:
            if not fence_check.CLOSED.exists():
                raise
            self._complain(error)
        else:
            ABLE.touch()

    @property
    def _images(self) -> set[str]:
        return {environment.image for environment in self.settings.images_environments}

    def _patiently(self, step: Callable[[], T]) -> T:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return step()
            except ComposeError as error:
                if time.monotonic() > deadline:
                    raise
                self.log.info("Waiting: %s", error)
            time.sleep(1)

    def _join(self) -> None:
        me = self.client.inspect_container(self.id)
        self.networks.attach(me, api="hub", alias="hub", address=self.plan.hub)

    def _hand_over_the_token(self) -> None:
        """Have a proxy that runs with another token read the new one."""
        if NEW_TOKEN.exists():
            if proxy := self.networks.proxy(self.plan.proxy):
                self.client.restart(proxy["Id"], timeout=1)
            NEW_TOKEN.unlink()

    def _join_proxy(self) -> Mapping[str, Any]:
        proxy = self.networks.proxy(self.plan.proxy)
        if proxy is None:
            raise ComposeError("The proxy does not run: start it, docker compose up --detach")
        if self.networks.attach(proxy, api="proxy-api", alias="proxy", address=self.plan.proxy):
            self._new_proxy = True
            proxy = dict(self.client.inspect_container(proxy["Id"]))
        networks = proxy["NetworkSettings"]["Networks"].values()
        self.proxy_addresses = frozenset(network["IPAddress"] for network in networks if network.get("IPAddress"))
        return proxy

    def _insist(self, in_force: str) -> None:
        if not in_force:
            raise ComposeError(
                f"The fence around the users' network is not in force; why: docker logs {self.fence.container}"
            )

    def _subject(self, proxy: Mapping[str, Any]) -> str:
        in_force = self.fence.in_force()
        self._insist(in_force)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        network = self.client.inspect_network(self.networks.users)["Id"]
        return "\n".join([boot, network, self.fence.digest, in_force, self.id, proxy["Id"]]) + "\n"

    def _prove_unless_closed(self, proxy: Mapping[str, Any]) -> None:
        if fence_check.CLOSED.exists() and time.monotonic() < self._retry_at:
            # A helper that was made again knows nothing of it.
            self.fence.turn("shut")
            raise ComposeError(fence_check.CLOSED.read_text().strip())
        self._prove(proxy)

    def _prove(self, proxy: Mapping[str, Any]) -> None:
        """Prove the fence, unless that was done since it was loaded."""
        if STAMP.exists() and STAMP.read_text() == self._subject(proxy):
            return
        STAMP.unlink(missing_ok=True)
        self.prober.remove_leftovers()
        if lacks := self.fence.do("lacks"):
            self.log.warning("The fence: %s", lacks)
        control = proxy["NetworkSettings"]["Networks"][self.networks.control]["IPAddress"]
        open_ways = {"the Hub": f"hub:{HUB_PORT}", "the proxy's public port": f"proxy:{PROXY_PORT}"}
        closed = {
            "the proxy's API": f"{self.plan.proxy}:{API_PORT}",
            "the proxy's API on the control network": f"{control}:{API_PORT}",
        }
        tried, reached = self._try(proxy, open_ways, closed)
        if found := open_ones(reached, open_ways):
            self._close(found)
        fence_proof.insist(reached, open_ways)
        if not reached[NAMES] and self.prober.machine_looks_names_up():
            self.log.warning("From users' servers no name is looked up, though the machine can; docs/troubleshooting.md")
        if self._subject(proxy) != tried:
            # Loaded again meanwhile: the next look tries that.
            return
        STAMP.write_text(tried)
        fence_check.CLOSED.unlink(missing_ok=True)
        self.log.info("The fence around the users' network is in force, as a container on it has proved")

    def _try(
        self, proxy: Mapping[str, Any], open_ways: Mapping[str, str], closed: Mapping[str, str]
    ) -> tuple[str, dict[str, bool]]:
        """Return what the last try was about, and what it reached."""
        # What was closed for good reason is open no longer than it takes to see whether that is gone.
        was_closed = fence_check.CLOSED.exists()
        self._retry_at = time.monotonic() + RETRY_S
        tried, reached = "", dict[str, bool]()
        try:
            self.fence.turn("open")
            for number in range(1 if was_closed else TRIES):
                time.sleep(PAUSE_S if number else 0)
                tried = self._subject(proxy)
                users, other = self.networks.users, self.networks.control
                reached = self.prober.reached(users, self.plan.gateway, open_ways, closed, other)
                if not open_ones(reached, open_ways):
                    break
        except Exception:
            if was_closed:
                self.fence.turn("shut")
            raise
        return tried, reached

    def _close(self, found: list[str]) -> None:
        """Close all of the bridge but Hub and proxy, and let no server start."""
        message = (
            f"The fence around the users' network did not hold: from a user's server {', '.join(found)} could be"
            " reached.  So servers now reach Hub and proxy only, and none is started.  Are Docker's own rules gone"
            ' (systemctl restart docker brings them back), or does it run with "iptables": false?  When that is mended:'
            f" docker compose restart hub, or wait {RETRY_S // 60} minutes"
        )
        fence_check.CLOSED.write_text(message + "\n")
        self.fence.turn("shut")
        raise ComposeError(message)

    # --- while the Hub runs

    def look(self) -> bool:
        """Put back what is gone; return whether the proxy is a new one, which knows no route.

        Where something cannot be put back, the Hub's health says so.
        """
        self._new_proxy = False
        try:
            self.networks.make()
            self.fence.keep()
            self._join()
            proxy = self._join_proxy()
            self._insist(self.fence.in_force())
            self._prove_unless_closed(proxy)
        except (ComposeError, *DOCKER_ERRORS) as error:
            self._complain(error)
        else:
            self._complaint = ""
            ABLE.touch()
        return self._new_proxy

    def _complain(self, error: Exception) -> None:
        if str(error) != self._complaint:
            self.log.warning("Not as it must be around the Hub: %s", error)
        self._complaint = str(error)
        ABLE.unlink(missing_ok=True)

    def remove_old_images(self) -> None:
        """Remove images of environments that later builds replaced."""
        self.images.remove_old(self._images)

    def before_start(self, image: str) -> None:
        """Let a server of this image start.

        Raises:
            ServerError: the fence is not in force, or the image is gone.
        """
        fence_check.insist()
        with self._asking:
            if time.monotonic() > self._trusted_until:
                if not self.fence.in_force():
                    raise fence_check.refusal(f"The fence is not in force; why: docker logs {self.fence.container}")
                self._trusted_until = time.monotonic() + _TRUSTED_S
        if self.images.tag([image], anew=False):
            raise failures.missing_image("Compose", image)
