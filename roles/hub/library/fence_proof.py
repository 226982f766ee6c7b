#!/usr/bin/python
"""Prove from inside a container what the users' network lets through."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: fence_proof
short_description: Prove from inside a container what the users' network lets through
description:
  - Starts two containers on the users' network and a listener on the host, tries every way that should be open and
    every way that should be closed, and removes what it started.
  - Does nothing where the same was proved before, since the machine was started.
options:
  network: {description: The users' network., type: str, required: true}
  image: {description: An image with C(python) on its path., type: str, required: true}
  labels: {description: Labels of the two containers., type: dict, required: true}
  gateway: {description: The host's address on the users' network., type: str, required: true}
  open: {description: Name to C(host:port) that a server must reach., type: dict, required: true}
  closed: {description: Name to C(host:port) that a server must not reach., type: dict, required: true}
  subject: {description: What it is about; another subject is proved anew., type: list, required: true}
  stamp: {description: File that remembers the last proof, where a reboot forgets it., type: path, required: true}
"""

RETURN = r"""
reached: {description: Name to whether the container reached it., type: dict, returned: when it was tried}
"""

LISTEN = """
import socket
server = socket.create_server(("", 9))
while True:
    server.accept()[0].close()
"""
TRY = """
import concurrent.futures, json, socket, sys
def reached(way):
    host, _, port = way.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True
ways = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
    print(json.dumps(dict(zip(ways, pool.map(reached, ways.values())))))
"""


def docker(*arguments: str) -> str:
    """Run the Docker client.

    Raises:
        RuntimeError: with the client's own message.
    """
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def wait_for(address: str) -> None:
    """Wait until the other container listens.

    Raises:
        OSError: it does not within 10 seconds.
    """
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((address, 9), timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def prove(params: dict[str, Any]) -> dict[str, bool]:
    """Try every way from a container on the users' network.

    Returns:
        For each name whether it was reached; ``another server`` and ``this machine`` are added.
    """
    start = ["--network", params["network"], "--entrypoint", "python"]
    for name, value in params["labels"].items():
        start += ["--label", f"{name}={value}"]
    other = docker("run", "--detach", *start, "--user", "0", params["image"], "-c", LISTEN)
    try:
        # The listener is ours, so that no other program of the host is ever knocked at.
        with socket.create_server((params["gateway"], 0)) as listener:
            address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", other)
            # From here the way is open: what the fence closes below is a listener that listens.
            wait_for(address)
            ways = {
                "another server": f"{address}:9",
                "this machine": f"{params['gateway']}:{listener.getsockname()[1]}",
                **params["open"],
                **params["closed"],
            }
            found: dict[str, bool] = json.loads(
                docker("run", "--rm", *start, params["image"], "-c", TRY, json.dumps(ways))
            )
            return found
    finally:
        docker("rm", "--force", other)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "network": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "labels": {"type": "dict", "required": True},
            "gateway": {"type": "str", "required": True},
            "open": {"type": "dict", "required": True},
            "closed": {"type": "dict", "required": True},
            "subject": {"type": "list", "elements": "str", "required": True},
            "stamp": {"type": "path", "required": True},
        },
    )
    stamp, subject = Path(module.params["stamp"]), "\n".join(module.params["subject"]) + "\n"
    if stamp.exists() and stamp.read_text() == subject:
        module.exit_json(changed=False, reached={})
    try:
        reached = prove(module.params)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"The fence could not be tried: {error}")
    wrong = [
        f"{name} is {'open' if way_open else 'closed'}"
        for name, way_open in reached.items()
        if way_open != (name in module.params["open"])
    ]
    if wrong:
        module.fail_json(
            msg=f"The fence around the users' network is not in force: from a user's server {', '.join(wrong)}. "
            "Users must not log in before this is mended; docs/troubleshooting.md says what to look at.",
            reached=reached,
        )
    stamp.write_text(subject)
    module.exit_json(changed=False, reached=reached)


if __name__ == "__main__":
    main()
