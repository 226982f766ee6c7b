"""The fence around the users' network, kept in force by a helper container on the host's network.

The scripts are those of the role network, copied into the Hub's image.  Like users' servers, the helper keeps running
while the Hub is down, and Docker starts it again after a reboot.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from typing import Any

import docker
from docker.errors import APIError, NotFound

from ..engine.labels import KIND, PROJECT, not_inherited
from ..spawner.limits import engine
from ..rules import mtu
from ..rules.users_network import Plan
from .errors import ComposeError

CONFIG_HASH = "jupyterhub-ansible.config-hash"
RESOLVERS = "/run/systemd/resolve"
"""Where systemd-resolved has the resolvers behind its stub; any others are in the helper's own resolv.conf."""
# The scripts' settings are $1 and $2.
KEEP = """
cd /run && cp /usr/local/share/jupyterhub/fence /usr/local/share/jupyterhub/ceiling .
printf '%s' "$1" >fence.conf
printf '%s' "$2" >ceiling.conf
/run/ceiling watch &
exec /run/fence watch
"""


def group(project: str, cgroup_driver: str) -> str:
    """Return the path of the cgroup of all users' servers (limits.cgroup_parent), below the root cgroup."""
    if cgroup_driver != "systemd":
        return f"{project}-users"
    # systemd nests a slice in one for each prefix of its name.
    parts = [*project.split("-"), "users"]
    return "/".join("-".join(parts[:end]) + ".slice" for end in range(1, len(parts) + 1))


def settings(project: str, plan: Plan, reserve_mb: int, cgroup: str) -> list[str]:
    """Return the settings of both scripts as shell assignments (the module watched_script writes the same)."""
    fence = {
        "name": project,
        "bridge": f"br-{project}",
        "table": f"{project.replace('-', '_')}_fence",
        "subnet": plan.subnet,
        "hub": plan.hub,
        "proxy": plan.proxy,
    }
    ceiling = {"name": project, "reserve_mb": str(reserve_mb), "group": cgroup}
    return ["".join(f"{name}={shlex.quote(value)}\n" for name, value in each.items()) for each in (fence, ceiling)]


BRIDGES = "/run/jupyterhub-ansible-bridges"
"""Where the helper has how bridges were filtered before (roles/network/files/fence)."""
# The table is $1, the control group $2, and the content of BRIDGES $3.
REMOVE = """
for family in inet bridge; do nft delete table $family "$1" 2>/dev/null || :; done
for group in "/sys/fs/cgroup/$2" /sys/fs/cgroup/*/"$2"; do [ ! -d "$group" ] || rmdir "$group" || :; done
echo "$3" | while read -r name value; do [ -z "$value" ] || echo "$value" > "/proc/sys/net/bridge/$name"; done
"""
REMOVE_S = 60


def _ask(client: docker.APIClient, container: str, command: list[str]) -> str:
    """Run a command in a container; return its output, or "" if it fails or the container does not answer."""
    try:
        call = client.exec_create(container, command)
        output: bytes = client.exec_start(call["Id"])
        code = client.exec_inspect(call["Id"])["ExitCode"]
    except APIError:
        return ""
    return output.decode(errors="replace").strip() if code == 0 else ""


def remove(client: docker.APIClient, project: str, image: str) -> None:
    """Remove the helper with everything that it set, by a container like it.

    Raises:
        ComposeError: a container of that name is not ours, or the rules are still there.
    """
    name = f"{project}-fence"
    before = _ask(client, name, ["cat", BRIDGES])
    _remove_helper(client, project)
    arguments = [f"{project.replace('-', '_')}_fence", group(project, engine(client.info()).cgroup_driver), before]
    labels = {**not_inherited(client.inspect_image(image)), PROJECT: project, KIND: "fence"}
    _create(client, project, image, ["sh", "-ec", REMOVE, "remove-fence", *arguments], labels, [])
    try:
        client.start(name)
        code = client.wait(name, timeout=REMOVE_S)["StatusCode"]
        said = client.logs(name).decode(errors="replace").strip()
    finally:
        _remove_helper(client, project)
    if code:
        raise ComposeError(f"The fence could not be removed: {said}")


def _remove_helper(client: docker.APIClient, project: str) -> None:
    try:
        found = client.inspect_container(f"{project}-fence")
    except NotFound:
        return
    if found["Config"]["Labels"].get(PROJECT) != project:
        raise ComposeError(f"Another container is called {project}-fence; rename it")
    client.remove_container(f"{project}-fence", force=True, v=True)


def _create(
    client: docker.APIClient,
    project: str,
    image: str,
    entrypoint: list[str],
    labels: Mapping[str, str],
    mounts: list[Any],
    restart: str = "no",
) -> None:
    """Create a container that may set the machine's rules and control groups."""
    host_config = client.create_host_config(
        network_mode="host",
        restart_policy={"Name": restart},
        cap_drop=["ALL"],
        # To load the rules, and br_netfilter, which applies them to traffic within a bridge.
        cap_add=["NET_ADMIN", "SYS_MODULE"],
        # Docker's profile forbids writing below /proc/sys.
        security_opt=["no-new-privileges", "apparmor=unconfined"],
        binds=["/lib/modules:/lib/modules:ro", "/sys/fs/cgroup:/sys/fs/cgroup:rw"],
        mounts=mounts,
        init=True,
        log_config=docker.types.LogConfig(type="json-file", config={"max-size": "1m", "max-file": "2"}),
    )
    # docker-py lacks this option of the API, without which /proc/sys is read-only.
    host_config["ReadonlyPaths"] = []
    client.create_container(
        image,
        name=f"{project}-fence",
        entrypoint=entrypoint,
        command=[],
        user="0",
        labels=labels,
        # Its state is part of the Hub's health (reconciler).
        healthcheck={"Test": ["NONE"]},
        host_config=host_config,
    )


class Fence:
    """The helper container of one Hub."""

    def __init__(self, client: docker.APIClient, project: str, plan: Plan, reserve_mb: int, image: str) -> None:
        cgroup = group(project, engine(client.info()).cgroup_driver)
        self.client, self.project, self.image = client, project, image
        self.container = f"{project}-fence"
        self.settings = settings(project, plan, reserve_mb, cgroup)
        self.digest = hashlib.sha256(json.dumps([self.settings, image, KEEP]).encode()).hexdigest()

    def ensure(self) -> None:
        """Make sure that the helper runs with these settings.

        Raises:
            ComposeError: a container of that name is not ours.
        """
        found = self._found()
        if found and found["Config"]["Labels"].get(PROJECT) != self.project:
            raise ComposeError(
                f"Another container is already called {self.container}; rename it, or set JUPYTERHUB_NAME"
            )
        if found and found["State"]["Running"] and found["Config"]["Labels"].get(CONFIG_HASH) == self.digest:
            return
        if found:
            # The kernel keeps the rules meanwhile.
            self.client.remove_container(self.container, force=True, v=True)
        try:
            self._create([docker.types.Mount("/host/resolve", RESOLVERS, type="bind", read_only=True)])
        except APIError as error:
            if RESOLVERS not in str(error):
                raise
            # No systemd-resolved here: unlike for a bind, Docker does not create the source of a mount.
            self._create([])
        self.client.start(self.container)

    def _found(self) -> Mapping[str, Any] | None:
        try:
            container: Mapping[str, Any] = self.client.inspect_container(self.container)
        except NotFound:
            return None
        return container

    def _create(self, mounts: list[Any]) -> None:
        inherited = not_inherited(self.client.inspect_image(self.image))
        labels = {**inherited, PROJECT: self.project, KIND: "fence", CONFIG_HASH: self.digest}
        entrypoint = ["sh", "-ec", KEEP, "keep-fence", *self.settings]
        _create(self.client, self.project, self.image, entrypoint, labels, mounts, restart="unless-stopped")

    def in_force(self) -> str:
        """Ask the helper whether the kernel has the rules.

        Returns:
            Its answer, which changes whenever the rules are reloaded; "" if they are not loaded or it does not answer.
        """
        answer = self.call("rules")
        return answer if answer.startswith("in force") else ""

    def mtu(self) -> int | None:
        """Ask the helper for the MTU of the machine's way to the outside; None if there is none, or no answer."""
        answer = self._run(["python", "-P", "-m", mtu.__name__])
        return int(answer) if answer.isdecimal() else None

    def switch(self, verb: str) -> None:
        """Close the network (`shut`), or open it (`open`).

        Raises:
            ComposeError: the helper failed.
        """
        if self.call(verb).splitlines()[-1:] not in (["loaded"], ["in force"]):
            raise ComposeError(f"The fence cannot be switched to {verb}; why: docker logs {self.container}")

    def call(self, verb: str) -> str:
        """Run the script in the helper; return its output, or "" if it fails or the helper does not answer."""
        return self._run(["/run/fence", verb])

    def _run(self, command: list[str]) -> str:
        return _ask(self.client, self.container, command)
