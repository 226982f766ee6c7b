#!/usr/bin/python
"""Wait until a container is healthy, or report why it is not."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: container_healthy
short_description: Wait until a container is healthy, or report why it is not
description:
  - Runs the container's own health check until it succeeds, without waiting for the engine to run it.
  - Fails with the container's last log lines as soon as the container exits or the engine restarts it.
options:
  name: {description: The container., type: str, required: true}
  timeout_s: {description: How long to wait., type: int, default: 90}
"""

LOG_LINES = 30
# Retries inside the container, since each `docker exec` costs more than the check itself.
TRY = 'for _ in 1 2 3 4 5 6 7 8 9; do "$@" >/dev/null 2>&1 && exit; sleep 0.2; done; exec "$@"'


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Docker client."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)


def inspect(name: str) -> dict[str, Any]:
    """Return the container's description, empty if it does not exist."""
    done = docker("container", "inspect", name)
    described: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return described[0] if described else {}


def end_of_log(name: str) -> str:
    """Return the end of the container's log."""
    done = docker("logs", "--tail", str(LOG_LINES), name)
    return (done.stdout + done.stderr).strip() or "(it wrote nothing)"


def failure(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return why the container cannot become healthy, "" if it still may."""
    if not now:
        return "it is gone"
    state = now["State"]
    if now["RestartCount"] > before["RestartCount"] or state["Restarting"]:
        return "it ends as soon as it is started"
    if not state["Running"]:
        return f"it ended with status {state['ExitCode']}"
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "required": True}, "timeout_s": {"type": "int", "default": 90}},
    )
    name, deadline = module.params["name"], time.monotonic() + module.params["timeout_s"]
    before = now = inspect(name)
    if now.get("State", {}).get("Health", {}).get("Status") == "healthy":
        module.exit_json(changed=False)
    why, said = "", ""
    while not (why := why or failure(before, now)):
        tried = docker("exec", name, "sh", "-c", TRY, "sh", *now["Config"]["Healthcheck"]["Test"][1:])
        if tried.returncode == 0:
            module.exit_json(changed=False)
        said = (tried.stdout + tried.stderr).strip()
        if time.monotonic() > deadline:
            why = f"its health check failed for {module.params['timeout_s']} seconds, at last with: {said}"
        time.sleep(0.2)
        now = inspect(name)
    module.fail_json(msg=f"The container {name} is not healthy: {why}. The end of its log:\n\n{end_of_log(name)}")


if __name__ == "__main__":
    main()
