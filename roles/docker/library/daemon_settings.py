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
author: The jupyterhub-ansible authors
"""


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
    validate(module, file.name)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    module.atomic_move(file.name, str(path))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "path": {"type": "path", "default": "/etc/docker/daemon.json"},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        old = read(path)
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"{path} cannot be read: {error}. Correct the file, or move it away.")
    new = prune(merge(old, module.params["settings"]))
    before = render(old) if path.exists() else ""
    changed = new != old
    if changed and not module.check_mode:
        write(module, path, render(new))
    diff = {
        "before": conceal(before),
        "after": conceal(render(new) if changed else before),
        "before_header": str(path),
        "after_header": str(path),
    }
    module.exit_json(changed=changed, diff=diff)


if __name__ == "__main__":
    main()
