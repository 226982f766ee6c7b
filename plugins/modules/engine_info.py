#!/usr/bin/python
"""Report on the machine's Docker engine."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker_engine import gather

DOCUMENTATION = r"""
module: engine_info
short_description: Report on the machine's Docker engine
description:
  - Queries the engine's socket and reads its files. Changes nothing.
options:
  socket:
    description: The engine's socket.
    type: path
    default: /var/run/docker.sock
  timeout_s:
    description: How long the engine may take to answer, in seconds.
    type: int
    default: 5
author: The jupyterhub-ansible authors
"""

RETURN = r"""
running: {description: The engine answers., type: bool, returned: always}
installed: {description: There is an engine on this machine and not just a client., type: bool, returned: always}
ours: {description: The role docker installed it or took it over., type: bool, returned: always}
enabled: {description: systemd starts it at boot. Null without systemd., type: bool, returned: always}
version: {description: The engine's version., type: str, returned: when running}
api_version: {description: The newest API version that it supports., type: str, returned: when running}
rootless: {description: The engine is rootless., type: bool, returned: always}
snap: {description: The engine is a snap., type: bool, returned: always}
userns_remap: {description: Containers' users are mapped to others., type: bool, returned: always}
podman: {description: Podman poses as Docker., type: bool, returned: always}
live_restore: {description: Containers survive an engine restart., type: bool, returned: always}
swarm_active: {description: The engine is part of a swarm., type: bool, returned: always}
root_dir: {description: Where it keeps images and volumes., type: str, returned: when running}
log_driver: {description: What it does with containers' logs., type: str, returned: when running}
rules: {description: The kernel has its firewall rules. Null if unknown., type: bool, returned: always}
rules_off: {description: Its firewall rules are turned off., type: bool, returned: always}
log_rotated: {description: Logs cannot grow without bound., type: bool, returned: always}
started_before_settings: {description: It started before daemon.json was changed., type: bool, returned: always}
cli: {description: The docker command is installed., type: bool, returned: always}
buildx: {description: The command can build with BuildKit., type: bool, returned: always}
nft: {description: The nft command is installed., type: bool, returned: always}
socket_gid: {description: The group that may use the socket. Null without a socket., type: int, returned: always}
dpkg_interrupted: {description: dpkg was interrupted., type: bool, returned: always}
dpkg_torn: {description: Packages that it left broken and that must be reinstalled., type: list, returned: always}
repository: {description: Existing files of docker_apt_repository., type: list, returned: always}
kernel_limits: {description: Lines for sysctl that raise limits which all servers share., type: list, returned: always}
kernel_limits_low: {description: Those of them that are not in force., type: list, returned: always}
kernel_limits_kept: {description: Our sysctl file sets them at boot., type: bool, returned: always}
mtu: {description: The MTU in its daemon.json. Null without one., type: int, returned: always}
route_mtu: {description: "The MTU of the default route, at most 1500. Null without one.", type: int, returned: always}
python_requests: {description: This module's Python has requests., type: bool, returned: always}
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "timeout_s": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **gather(module.params["socket"], module.params["timeout_s"]))


if __name__ == "__main__":
    main()
