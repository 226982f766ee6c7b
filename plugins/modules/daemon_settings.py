#!/usr/bin/python
"""Merge settings into the Docker engine's daemon.json."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: daemon_settings
short_description: Merge settings into the Docker engine's daemon.json
description:
  - Others' keys stay, given ones win, a null removes a key (JSON Merge Patch, RFC 7396).
  - A setting that was given to an earlier run and is given no more gives way to what was there before, unless
    somebody changed it since. C(data-root) stays, with all that is in it.
  - The file is written only when its meaning changes, as its age tells whether the engine has read it.
options:
  settings:
    description: Settings of the engine.
    type: dict
    required: true
  path:
    description: The engine's settings file.
    type: path
    default: /etc/docker/daemon.json
  record:
    description: File that remembers what was written, and in the place of what. Made when it is not there.
    type: path
    default: /etc/docker/managed-by-jupyterhub-ansible
author: The jupyterhub-ansible authors
"""


RETURN = r"""
settings_changed: {description: The engine's settings file was or would be written., type: bool, returned: always}
"""

# The engine would start without images, volumes and users' files.
KEPT = ("data-root",)
ABOUT = (
    "The role docker of jupyterhub-ansible installs and configures this machine's engine, and remembers here what it"
    " wrote into daemon.json. Without this file it leaves the engine alone."
)


def merge(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return the old settings with the patch applied, by RFC 7396."""
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def prune(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without groups that have become empty."""
    return {key: value for key, value in settings.items() if value != {}}


def replaced(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return the patch that undoes a patch: what was in the place of each of its values, null for nothing."""
    before: dict[str, Any] = {}
    for key, value in patch.items():
        was = old.get(key)
        before[key] = replaced(was, value) if isinstance(value, dict) and isinstance(was, dict) else was
    return before


def undo(settings: dict[str, Any], written: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as they were before, but for what somebody changed after it was written."""
    restored = dict(settings)
    for key, value in written.items():
        now, was = settings.get(key), before.get(key)
        if isinstance(value, dict) and isinstance(now, dict):
            restored[key] = undo(now, value, was if isinstance(was, dict) else {})
        elif now == value:
            restored[key] = was
        if restored.get(key) in (None, {}):
            restored.pop(key, None)
    return restored


def render(settings: dict[str, Any]) -> str:
    """Return the file's text."""
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def conceal(text: str) -> str:
    """Return the text without credentials in addresses (an HTTP proxy's, say)."""
    return re.sub(r"//[^/@\s\"]+@", "//***@", text)


def read(path: Path) -> dict[str, Any]:
    """Return the file's settings; none where there is no file.

    Raises:
        ValueError: it holds something else than a JSON object.
    """
    text = path.read_text() if path.exists() else ""
    settings = json.loads(text or "{}")
    if not isinstance(settings, dict):
        raise ValueError("not a JSON object")
    return settings


def read_record(path: Path) -> dict[str, Any]:
    """Return what an earlier run remembered; nothing where a person made the file, as a sign only."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def validate(module: AnsibleModule, file: str) -> None:
    """Stop at settings that the engine refuses, before they are in its way at the next start."""
    dockerd = module.get_bin_path("dockerd")
    if not dockerd:
        return
    code, _, error = module.run_command([dockerd, "--validate", "--config-file", file])
    # Engines before 23.0 cannot tell.
    if code != 0 and "unknown flag" not in error:
        reason = conceal(error.strip())
        module.fail_json(msg=f"The Docker engine refuses these settings, so they were not written: {reason}")


def write(module: AnsibleModule, path: Path, text: str) -> None:
    """Put the text in place at once, so that no half-written file is ever read."""
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False) as file:
        file.write(text)
    module.atomic_move(file.name, str(path))


def difference(path: Path, before: str, after: str) -> dict[str, str]:
    """Return what Ansible shows of a changed file."""
    header = str(path)
    return {"before": conceal(before), "after": conceal(after), "before_header": header, "after_header": header}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
            "record": {"type": "path", "default": "/etc/docker/managed-by-jupyterhub-ansible"},
        },
        supports_check_mode=True,
    )
    settings, path, record = module.params["settings"], Path(module.params["path"]), Path(module.params["record"])
    try:
        old = read(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{path} cannot be read: {error}. Correct the file, or move it away.")
    earlier = read_record(record)
    others = undo(old, earlier.get("written", {}), earlier.get("replaced", {}))
    new = prune(merge(others, settings))
    passing = {key: value for key, value in settings.items() if key not in KEPT}
    remembered = {"about": ABOUT, "written": passing, "replaced": replaced(others, passing)}
    diff = []
    if new != old:
        diff.append(difference(path, render(old) if path.exists() else "", render(new)))
    if remembered != earlier:
        diff.append(difference(record, render(earlier) if earlier else "", render(remembered)))
    if diff:
        with tempfile.NamedTemporaryFile("w", dir=module.tmpdir) as candidate:
            candidate.write(render(new))
            candidate.flush()
            validate(module, candidate.name)
    if diff and not module.check_mode:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # First of all: a run that is cut off after this finds its own engine again, and what it meant to write.
        record.touch()
        # An HTTP proxy's password may be in it.
        record.chmod(0o600)
        write(module, record, render(remembered))
        if new != old:
            write(module, path, render(new))
    module.exit_json(changed=bool(diff), settings_changed=new != old, diff=diff)


if __name__ == "__main__":
    main()
