"""What Docker, this project and its tests leave on a machine: packages, files, and rules of iptables."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Collection
from pathlib import Path

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
    "etc/modules-load.d/*jupyterhub*", "run/lock/jupyterhub-ansible-*", "run/jupyterhub-ansible-*",
    "var/lib/jupyterhub-ansible", "tmp/jhtest-*", "root/.cache/molecule", "root/.ansible_async", "root/.ansible/tmp/*",
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
# As `make uninstall` tells them; without an import, since Python finds the folder's neighbours only.
_rules = runpy.run_path(str(Path(__file__).parents[1] / "plugins/module_utils/docker_rules.py"))
BRIDGE: re.Pattern[str] = _rules["BRIDGE"]
without_docker: Callable[[str, Collection[str]], str] = _rules["without_docker"]
