"""What Docker, this project and its tests leave on a machine: packages, files, and rules of iptables."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise

# Those of Debian and of Docker; and what is installed if no registry answers, or for a browser.
PACKAGES = (
    "docker.io", "docker-cli", "docker-buildx", "docker-compose", "docker-ce", "docker-ce-cli", "docker-buildx-plugin",
    "docker-ce-rootless-extras", "docker-compose-plugin", "containerd", "containerd.io", "runc", "tini", "mmdebstrap",
    "chromium", "chromium-headless-shell",
)  # fmt: skip
FILES = (
    "var/lib/docker", "var/lib/containerd", "opt/containerd", "etc/docker", "etc/containerd", "etc/default/docker",
    "etc/systemd/system/docker.service.d", "etc/systemd/system/containerd.service.d", "run/docker", "run/docker.*",
    "run/containerd", "root/.docker/buildx", "var/log/docker.log",
    # From our roles, and from the tests.
    "etc/apt/sources.list.d/jupyterhub-ansible-*", "etc/apt/keyrings/jupyterhub-ansible-*", "etc/sysctl.d/*jupyterhub*",
    "etc/modules-load.d/*jupyterhub*", "run/lock/jupyterhub-ansible-*", "tmp/jhtest-*", "root/.cache/molecule",
    "root/.ansible_async", "root/.ansible/tmp/*",
)  # fmt: skip
# For each Hub.
FILES_OF_A_HUB = (
    "etc/systemd/system/{}-fence*", "etc/systemd/system/*.wants/{}-fence*", "run/{}-fence*", "run/{}.lease",
    "etc/systemd/system/{}-ceiling*", "etc/systemd/system/*.wants/{}-ceiling*", "run/{}-*.settled",
    "etc/systemd/system/{}-backup*", "etc/systemd/system/*.wants/{}-backup*", "etc/cron.d/{}-backup",
    "run/{}-backup.lock", "var/lib/systemd/timers/stamp-{}-backup.timer",
)  # fmt: skip
# For a Hub of the tests only: if this machine is a container, control groups may belong to its host.
FILES_OF_A_TEST = ("srv/{}", "sys/fs/cgroup/{}-users", "sys/fs/cgroup/*/{}-users")
# In this clone: keys, and results of builds.
FILES_OF_THE_TESTS = ("artefacts/ssh", "artefacts/builds", "artefacts/images", "tests/e2e/node_modules")
# Other programs that keep containers in containerd, whose packages and folders would be removed.
OTHER_ENGINES = (
    "etc/kubernetes", "var/lib/kubelet", "etc/rancher", "var/lib/rancher", "var/lib/k0s", "var/snap/microk8s",
    "var/lib/nerdctl",
)  # fmt: skip
NAMESPACES = ("moby", "plugins.moby")
# What an engine keeps in its data-root: anything else may belong to somebody.
OF_AN_ENGINE = (
    "aufs", "btrfs", "builder", "buildkit", "containerd", "containers", "engine-id", "fuse-overlayfs", "image",
    "lost+found", "network", "overlay", "overlay2", "plugins", "rootfs", "runtimes", "swarm", "tmp", "trust", "vfs",
    "volumes", "zfs",
)  # fmt: skip
BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
# The only rules of Docker's without its own chain or bridge: for a container that contacts itself through the host.
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+/32) -d \1 .*-j MASQUERADE")


def without_docker(saved: str, bridges: Collection[str]) -> str:
    """Return the output of `iptables-save` without the chains and rules of an engine and of these bridges."""
    lines = saved.splitlines()
    kept = [line for line in lines if not of_docker(line, bridges)]
    if len(kept) == len(lines):
        return saved
    text = "\n".join(kept) + "\n"
    # The engine sets this policy; if there are other rules, somebody else may have set it.
    return text if "\n-A FORWARD " in text else text.replace(":FORWARD DROP", ":FORWARD ACCEPT")


def of_docker(line: str, bridges: Collection[str]) -> bool:
    """Return whether a line of `iptables-save` belongs to an engine."""
    words = line.split()
    interfaces = [name for option, name in pairwise(words) if option in ("-i", "-o")]
    return (
        line.startswith(":DOCKER")
        or (line.startswith("-A") and any(word.startswith("DOCKER") for word in words))
        or any(BRIDGE.fullmatch(name) or name in bridges for name in interfaces)
        or HAIRPIN.match(line) is not None
    )
