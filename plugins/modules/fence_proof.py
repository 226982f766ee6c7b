#!/usr/bin/python
"""Test from inside a container which connections the fence around the users' network allows."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.rules.probe import NAMES, TRIES, TRY, closed_ones, open_ones

DOCUMENTATION = r"""
module: fence_proof
short_description: Test from inside a container which connections the fence around the users' network allows
description:
  - Starts two containers on the users' network, one on another network, and a listener on the host, tries every
    connection that must be possible and every one that must not, and removes what it started.
  - Does nothing if the same was proved before and the fence was not reloaded since.
  - If a forbidden connection succeeds three times in a row, all of the users' network except Hub and proxy is closed,
    and the Hub starts no servers, until a later run finds nothing open.
  - Warns if servers cannot look up names while the machine can.
options:
  network: {description: The users' network., type: str, required: true}
  other_network: {description: Another network of the engine., type: str, required: true}
  image: {description: An image with C(python) on its path., type: str, required: true}
  labels: {description: Labels of the containers., type: dict, required: true}
  gateway: {description: The host's address on the users' network., type: str, required: true}
  open: {description: Name to C(host:port) that a server must reach., type: dict, required: true}
  closed: {description: Name to C(host:port) that a server must not reach., type: dict, required: true}
  subject: {description: What was proved; if it changes, the proof is repeated., type: list, required: true}
  fence: {description: The script of the fence., type: path, required: true}
  hub: {description: The Hub's container., type: str, required: true}
  stamp: {description: File with the subject of the last proof; lost at a reboot., type: path, required: true}
"""

RETURN = r"""
reached: {description: Whether the container reached each name., type: dict, returned: when it was tried}
"""

LISTEN = """
import socket
server = socket.create_server(("", 9))
while True:
    server.accept()[0].close()
"""
# The Hub starts no servers while this file exists (jupyterhub_ansible.spawner.fence_check); it contains the reason.
CLOSED = "/srv/jupyterhub/closed"


def docker(*arguments: str) -> str:
    """Run the Docker client.

    Raises:
        RuntimeError: with the client's error message.
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
    """Try every connection from a container on the users' network.

    Returns:
        Whether each name was reached, including ``another server``, ``a container of another network``,
        ``this machine`` and NAMES.
    """
    start = ["--entrypoint", "python"]
    for name, value in params["labels"].items():
        start += ["--label", f"{name}={value}"]
    others: list[str] = []

    def listening(network: str) -> str:
        listen = ["--network", network, "--user", "0", params["image"], "-c", LISTEN]
        others.append(container := docker("run", "--detach", *start, *listen))
        address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container)
        wait_for(address)
        return address

    try:
        networks = {"another server": params["network"], "a container of another network": params["other_network"]}
        with ThreadPoolExecutor() as pool:
            # The listeners are reachable from here, so the fence must be what closes them for servers.
            addresses = dict(zip(networks, pool.map(listening, networks.values()), strict=True))
        # A listener of our own, so as not to connect to other programs on the host.
        with socket.create_server((params["gateway"], 0)) as listener:
            ways = {
                **{name: f"{address}:9" for name, address in addresses.items()},
                "this machine": f"{params['gateway']}:{listener.getsockname()[1]}",
                **params["open"],
                **params["closed"],
                NAMES: NAMES,
            }
            found: dict[str, bool] = json.loads(
                docker(
                    "run",
                    "--rm",
                    "--network",
                    params["network"],
                    *start,
                    params["image"],
                    "-c",
                    TRY,
                    json.dumps([ways, list(params["open"])]),
                )
            )
            return found
    finally:
        if others:
            docker("rm", "--force", *others)


def machine_looks_names_up() -> bool:
    """Return whether DNS lookups work on the machine itself."""
    asked = subprocess.run(
        [sys.executable, "-c", TRY, json.dumps([{NAMES: NAMES}, []])],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return bool(json.loads(asked.stdout)[NAMES])


def call(fence: str, verb: str) -> str:
    """Run a command of the fence's script, and return its output.

    Raises:
        RuntimeError: with the script's error message.
    """
    # Its file system may be mounted noexec.
    done = subprocess.run(["/bin/sh", fence, verb], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{fence} {verb}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def set_closed(hub: str, reason: str) -> None:
    """Make the Hub start no servers for this reason, or, without a reason, start them again."""
    script = 'if [ "$1" ]; then printf "%s\\n" "$1" > "$0"; else rm -f "$0"; fi'
    docker("exec", hub, "sh", "-c", script, CLOSED, reason)


def found_open(params: dict[str, Any]) -> tuple[list[str], dict[str, bool], str]:
    """Try up to three times, until no forbidden connection is possible.

    Returns:
        The forbidden connections that were possible every time, what was reached the last time, and the rules in force
        then (as the script prints them).
    """
    # A fence that a failed proof shut is opened only for a single attempt.
    was_shut = Path(params["fence"] + ".shut").exists()
    # Shut it again even if this is interrupted, by Ctrl-C or a broken connection.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    wrong: list[str] = []
    reached: dict[str, bool] = {}
    rules = ""
    try:
        call(params["fence"], "open")
        for _ in range(1 if was_shut else TRIES):
            rules = call(params["fence"], "rules")
            reached = prove(params)
            wrong = open_ones(reached, params["open"])
            if not wrong:
                break
    except BaseException:
        if was_shut:
            call(params["fence"], "shut")
        raise
    return wrong, reached, rules


def close(params: dict[str, Any], wrong: list[str]) -> str:
    """Close the users' network except for Hub and proxy, make the Hub start no servers, and return the reason.

    Errors of these steps are appended, so that the reason is reported anyway.
    """
    reason = (
        f"The fence around the users' network did not hold: from a user's server {', '.join(wrong)} could be reached. "
        "So servers now reach Hub and proxy only, and none is started. Are Docker's own rules gone (after a firewall "
        'was restarted; systemctl restart docker restores them), or does Docker run with "iptables": false '
        "(/etc/docker/daemon.json)? Fix that, and deploy again; docs/troubleshooting.md has more."
    )
    failed = ""
    for step, *arguments in ((call, params["fence"], "shut"), (set_closed, params["hub"], reason)):
        try:
            step(*arguments)
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            failed += f" This failed as well: {error}"
    return reason + failed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "network": {"type": "str", "required": True},
            "other_network": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            "labels": {"type": "dict", "required": True},
            "gateway": {"type": "str", "required": True},
            "open": {"type": "dict", "required": True},
            "closed": {"type": "dict", "required": True},
            "subject": {"type": "list", "elements": "str", "required": True},
            "fence": {"type": "path", "required": True},
            "hub": {"type": "str", "required": True},
            "stamp": {"type": "path", "required": True},
        },
    )
    params = module.params
    stamp, subject = Path(params["stamp"]), "\n".join(params["subject"]) + "\n"
    if stamp.exists() and stamp.read_text() == subject:
        module.exit_json(changed=False, reached={})
    try:
        wrong, reached, rules = found_open(params)
        if wrong:
            module.fail_json(msg=close(params, wrong), reached=reached)
        shut_out = closed_ones(reached, params["open"])
        if shut_out:
            module.fail_json(
                msg=f"The fence closes too much: a user's server cannot reach {', '.join(shut_out)}, so nobody can "
                "work. Look for a firewall rule that drops it: nft list ruleset; docs/troubleshooting.md",
                reached=reached,
            )
        if not reached[NAMES] and machine_looks_names_up():
            module.warn(
                "From users' servers no name can be looked up, though this machine can: pip, git and the like will "
                "fail there. docs/troubleshooting.md says what to check."
            )
        set_closed(params["hub"], "")
        # If other rules were loaded meanwhile, the next run tests those.
        if call(params["fence"], "rules") == rules:
            stamp.write_text(subject)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"The fence could not be tested: {error}")
    module.exit_json(changed=False, reached=reached)


if __name__ == "__main__":
    main()
