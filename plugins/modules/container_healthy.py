#!/usr/bin/python
"""Wait until a container is healthy, or say why it is not."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: container_healthy
short_description: Wait until a container is healthy, or say why it is not
description:
  - Runs the container's own health check until it succeeds, without waiting for the engine's next round of it.
  - Fails as soon as the container ended or was restarted by the engine, with its last log lines.
options:
  name: {description: The container., type: str, required: true}
  timeout_s: {description: Seconds to wait at the most., type: int, default: 90}
"""

LOG_LINES = 30
# In the container: each command that the engine runs there costs more than the check itself.
TRY = 'for _ in 1 2 3 4 5 6 7 8 9; do "$@" >/dev/null 2>&1 && exit; sleep 0.2; done; exec "$@"'


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Docker client."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)


def inspect(name: str) -> dict[str, Any]:
    """Describe the container; empty if there is none."""
    done = docker("container", "inspect", name)
    described: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return described[0] if described else {}


def last_words(name: str) -> str:
    """The end of the container's log."""
    done = docker("logs", "--tail", str(LOG_LINES), name)
    return (done.stdout + done.stderr).strip() or "(it wrote nothing)"


def trouble(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Why the container will not become healthy; empty if it still may."""
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
    while not (why := why or trouble(before, now)):
        tried = docker("exec", name, "sh", "-c", TRY, "sh", *now["Config"]["Healthcheck"]["Test"][1:])
        if tried.returncode == 0:
            module.exit_json(changed=False)
        said = (tried.stdout + tried.stderr).strip()
        if time.monotonic() > deadline:
            why = f"its health check failed for {module.params['timeout_s']} seconds, at last with: {said}"
        time.sleep(0.2)
        now = inspect(name)
    module.fail_json(msg=f"The container {name} is not healthy: {why}. The end of its log:\n\n{last_words(name)}")


if __name__ == "__main__":
    main()
