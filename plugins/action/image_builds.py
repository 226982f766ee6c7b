"""Action `image_builds`: run the module of that name, and print its progress.

A build may take minutes, and would look like a hang without any output.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

POLL_S = 2
PRINT_S = 10
# Common errors, as the tools report them, and what to do.
CAUSES = {
    r"no space left on device": "The disk is full: free some space (docker system df shows what the engine holds).",
    r"pull access denied|requested access to the resource is denied|no basic auth credentials|insufficient_scope|"
    r'failed to authorize|(daemon: |"https?://\S+/v2/).*\b(denied|unauthorized)\b|error from registry: denied': (
        "The registry wants a login, or has no such image: check the name, run docker login <registry> as root on the"
        " target (sudo docker login ...), and deploy again."
    ),
    r"manifest unknown|manifest for .* not found": "The registry has no such image: check its name and tag.",
    r"x509: |server gave HTTP response to HTTPS client": (
        "The registry's certificate is not trusted by the engine: store its authority on the target as"
        " /etc/docker/certs.d/<registry>/ca.crt; for a registry without HTTPS set"
        ' docker_daemon_settings: {insecure-registries: ["host:port"]}.'
    ),
    r"No solution found when resolving|ResolutionImpossible|conflicting dependencies": (
        "The requirements conflict with each other, or with the server's own packages, which are fixed:"
        " change the pip list."
    ),
    r"No matching distribution found|not found in the package registry|Unable to locate package": (
        "The index has no package of that name: check the spelling."
    ),
    r"Hash mismatch|DO NOT MATCH THE HASHES|EINTEGRITY": (
        "The index serves a different file than the lock expects: a mirror that alters packages cannot be used."
    ),
    r"certificate verify failed|CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer|SELF_SIGNED_CERT": (
        "A server's certificate is not trusted: add its authority to the target's bundle (images_ca_bundle)."
    ),
    r"401 Unauthorized|407 Proxy Authentication|HTTP status client error \(40[137]": (
        "The index or the HTTP proxy refuses the user or password: see images_pip_index_url, images_npm_registry"
        " and images_https_proxy."
    ),
    r"npm (error|ERR!).*(ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN)": (
        "The npm registry cannot be reached: set images_npm_registry to a mirror, or images_https_proxy."
    ),
    r"\bE: Failed to fetch|Temporary failure resolving": (
        "The distribution's packages cannot be reached: set images_apt_mirror to a mirror, or images_http_proxy."
    ),
    r"Failed to fetch: |error sending request for url|NewConnectionError|dns error|Connection refused": (
        "The Python package index cannot be reached: set images_pip_index_url to a mirror, or images_https_proxy."
    ),
    r"Failed to build `|hint: Build failures usually|error: command '\S*(gcc|g\+\+|cc)' failed|\w\.h: No such file": (
        "A Python package is built from source, and the image lacks what that needs: add it to apt, such as gcc,"
        " libc6-dev, python3-dev and the -dev package of its library, or name a version in pip that comes as a wheel."
    ),
}


def advice(lines: list[str]) -> str:
    """Return what to do about the error in a log's last lines, "" if it is not a common one."""
    text = "\n".join(lines)
    for pattern, hint in CAUSES.items():
        if re.search(pattern, text):
            return hint
    return ""


def message(failures: list[Mapping[str, Any]]) -> str:
    """Return the error message for failed builds."""
    parts = []
    for failure in failures:
        parts.append(f"The image {failure['name']} was not made: {failure['error']}.")
        if failure["tail"]:
            parts += [f"    {line}" for line in failure["tail"]]
            parts.append(f"The whole log, on the target: {failure['log']}")
            parts += [hint for hint in [advice(failure["tail"])] if hint]
    parts.append("Nothing else was changed: the existing images stay in use.")
    return "\n".join(parts)


class ActionModule(ActionBase):
    """See the file's docstring."""

    TRANSFERS_FILES = False
    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start the builds in the background, print their progress, return their result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        in_background = bool(self._task.async_val) and not self._task.check_mode
        started = self._execute_module(
            module_name="local.jupyterhub.image_builds",
            module_args=self._task.args,
            task_vars=task_vars,
            wrap_async=in_background,
        )
        result.update(self._wait(started, task_vars) if started.get("ansible_job_id") else started)
        for key in ("ansible_job_id", "results_file", "started", "finished"):
            result.pop(key, None)
        if result.get("failures"):
            result.update(failed=True, msg=message(result.pop("failures")))
        # The contexts would flood the output.
        result.pop("invocation", None)
        return result

    def _wait(self, started: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        job = started["ansible_job_id"]
        deadline = time.monotonic() + self._task.async_val
        last_print = time.monotonic()
        run = os.getppid()
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            if os.getppid() != run:
                # The run was killed: nobody reads the result, and writing it would block forever.
                os._exit(1)
            status = self._job(job, "status", task_vars)
            if status.get("finished"):
                self._job(job, "cleanup", task_vars)
                return status
            if time.monotonic() - last_print >= PRINT_S:
                self._print_progress()
                last_print = time.monotonic()
        late = f"The images were not made within {self._task.async_val} s; the builds are still running on the target."
        return {"failed": True, "msg": late}

    def _job(self, job: str, mode: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        folder = self._remote_expand_user(self.get_shell_option("async_dir", default="~/.ansible_async"))
        args = {"jid": job, "mode": mode, "_async_dir": folder}
        background, self._task.async_val = self._task.async_val, 0
        try:
            status: dict[str, Any] = self._execute_module(
                module_name="ansible.legacy.async_status", module_args=args, task_vars=task_vars
            )
        finally:
            self._task.async_val = background
        return status

    def _print_progress(self) -> None:
        paths = [shlex.quote(f"{self._task.args['logs']}/{name}") for name in ("waiting", "progress")]
        shown = self._low_level_execute_command(f"cat {' '.join(paths)} 2>/dev/null || :")
        for line in shown["stdout"].splitlines():
            Display().display(f"  {line.strip()}")
