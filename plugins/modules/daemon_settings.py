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
  - Other keys stay, given ones win, and a null removes a key (JSON Merge Patch, RFC 7396).
  - A setting of an earlier run that is no longer given is reset to its value before that run, unless it was changed
    by hand since. C(data-root) always stays, with all its data.
  - C(absent) resets all of them, and removes the record and a file that is then empty.
  - The file is written only if its meaning changes, since its age shows whether the engine has read it.
options:
  settings:
    description: Settings of the engine.
    type: dict
    default: {}
  state: {description: Whether they are to be there., type: str, choices: [present, absent], default: present}
  path:
    description: The engine's settings file.
    type: path
    default: /etc/docker/daemon.json
  record:
    description: File that records what was written, and the values before. Created if missing.
    type: path
    default: /etc/docker/managed-by-jupyterhub-ansible
author: The jupyterhub-ansible authors
"""


RETURN = r"""
settings_changed: {description: The engine's settings file was or would be written., type: bool, returned: always}
"""

# Otherwise the engine would start without images, volumes and users' files.
KEPT = ("data-root",)
ABOUT = (
    "The role docker of jupyterhub-ansible installs and configures this machine's engine, and remembers here what it"
    " wrote into daemon.json. Without this file it leaves the engine alone."
)


def merge(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return the old settings with the patch applied (RFC 7396)."""
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
    """Return the settings without empty mappings."""
    return {key: value for key, value in settings.items() if value != {}}


def replaced(old: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Return the patch that undoes a patch: the former values, null for those that were unset."""
    before: dict[str, Any] = {}
    for key, value in patch.items():
        was = old.get(key)
        before[key] = replaced(was, value) if isinstance(value, dict) and isinstance(was, dict) else was
    return before


def undo(settings: dict[str, Any], written: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as they were before, except for what was changed by hand since."""
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
    """Return the text with credentials in URLs masked, such as an HTTP proxy's."""
    return re.sub(r"//[^/@\s\"]+@", "//***@", text)


def read(path: Path) -> dict[str, Any]:
    """Return the file's settings; empty if there is no file.

    Raises:
        ValueError: it is not a JSON object.
    """
    text = path.read_text() if path.exists() else ""
    settings = json.loads(text or "{}")
    if not isinstance(settings, dict):
        raise ValueError("not a JSON object")
    return settings


def read_record(path: Path) -> dict[str, Any]:
    """Return an earlier run's record; empty if a person created the file just as a marker."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def validate(module: AnsibleModule, file: str) -> None:
    """Fail for settings that the engine refuses, since it could not start with them."""
    dockerd = module.get_bin_path("dockerd")
    if not dockerd:
        return
    code, _, error = module.run_command([dockerd, "--validate", "--config-file", file])
    # Engines before 23.0 have no --validate.
    if code != 0 and "unknown flag" not in error:
        reason = conceal(error.strip())
        module.fail_json(msg=f"The Docker engine refuses these settings, so they were not written: {reason}")


def write(module: AnsibleModule, path: Path, text: str) -> None:
    """Replace the file atomically, so that nobody reads a half-written one."""
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False) as file:
        file.write(text)
    module.atomic_move(file.name, str(path))


def difference(path: Path, before: str, after: str) -> dict[str, str]:
    """Return a changed file's diff in the form that Ansible shows."""
    header = str(path)
    return {"before": conceal(before), "after": conceal(after), "before_header": header, "after_header": header}


def give_back(
    module: AnsibleModule, path: Path, old: dict[str, Any], record: Path, others: dict[str, Any]
) -> dict[str, Any]:
    """Leave only what was in the file before, and what others have written into it since."""
    differs = others != old or (path.exists() and not others)
    diff = [difference(path, render(old), render(others) if others else "")] if differs else []
    changed = differs or record.exists()
    if not module.check_mode:
        if others and differs:
            write(module, path, render(others))
        elif differs:
            path.unlink()
        record.unlink(missing_ok=True)
    return {"changed": changed, "settings_changed": differs, "diff": diff}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
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
    if module.params["state"] == "absent":
        module.exit_json(**give_back(module, path, old, record, prune(others)))
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
        # The record comes first, so that after an interruption the next run recognises its own engine and settings.
        record.touch()
        # It may contain an HTTP proxy's password.
        record.chmod(0o600)
        write(module, record, render(remembered))
        if new != old:
            write(module, path, render(new))
    module.exit_json(changed=bool(diff), settings_changed=new != old, diff=diff)


if __name__ == "__main__":
    main()
