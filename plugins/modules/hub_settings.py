#!/usr/bin/python
"""Write the Hub's settings, after checking them with the Hub's own code."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: hub_settings
short_description: Write the Hub's settings, after checking them with the Hub's own code
description:
  - Settings with which the Hub would not start never replace those that it runs with, nor does an image with which it
    would not start with the settings that are there.
  - Check mode checks them as well, if the Hub's image and secrets are on the machine already.
extends_documentation_fragment: files
options:
  content: {description: The file's content (JSON)., type: str, required: true}
  path: {description: The file., type: path, required: true}
  image: {description: The Hub's image., type: str, required: true}
  secrets: {description: Folder of the Hub's secrets., type: path, required: true}
  secrets_ready: {description: The folder has the secrets that the Hub will use., type: bool, required: true}
"""

# Exit code of `docker run` if it could not create the container.
NO_CONTAINER = 125
# Takes a hundredth of a second.
ROUNDS = 20_000
SOCKET = "/var/run/docker.sock"
PRIVATE = ("hub_traits", "hub_server_environment")
HIDDEN = "(not shown, since it may contain a secret)"


def refusal(content: str, image: str, secrets: str, *, surely: bool) -> str:
    """Return why the Hub would not start with these settings, "" if it would.

    Args:
        content: the settings.
        image: the Hub's image.
        secrets: folder of the Hub's secrets.
        surely: whether being unable to check them counts as a reason.
    """
    # On standard input, so that no file is needed.  As root, since the secrets belong to the Hub's account.
    command = ["docker", "run", "--rm", "--interactive", "--network=none", "--user=0", "--pull=never"]
    command += [
        f"--mount=type=bind,src={secrets},dst=/run/secrets,readonly",
        # To see whether the Hub would still find all homes.
        f"--mount=type=bind,src={SOCKET},dst={SOCKET}",
        "--env=JUPYTERHUB_SETTINGS_FILE=/dev/stdin",
    ]
    try:
        done = subprocess.run(
            [*command, image, "python", "-m", "jupyterhub_ansible", "check", "--homes"],
            input=content,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except FileNotFoundError as error:
        return str(error) if surely else ""
    if done.returncode == 0 or (done.returncode == NO_CONTAINER and not surely):
        return ""
    return done.stderr.strip() or f"the check ended with status {done.returncode}"


def tried_with(content: str, image: str) -> str:
    """Return a hash of settings and image, from which no setting can be guessed: the settings may contain secrets."""
    return hashlib.pbkdf2_hmac("sha256", content.encode(), image.encode(), ROUNDS).hex()


def difference(before: str, after: str) -> dict[str, Any]:
    """Return the difference key by key, without values that may contain a secret."""
    old, new = _read(before), _read(after)
    for key in PRIVATE:
        _hide(key, old, new)
    olds, news = _environments(old), _environments(new)
    for slug in olds.keys() | news.keys():
        _hide("environment", olds.get(slug, {}), news.get(slug, {}))
    return {"before": old, "after": new}


def _environments(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the catalogue by slug, without damaged entries."""
    entries = settings.get("images_environments")
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {str(entry.get("slug")): entry for entry in found}


def _hide(key: str, olds: dict[str, Any], news: dict[str, Any]) -> None:
    """Hide a value, but not whether it changed."""
    other = olds.get(key) != news.get(key)
    if olds.get(key):
        olds[key] = HIDDEN
    if news.get(key):
        news[key] = f"{HIDDEN}: changed" if other else HIDDEN


def _read(text: str) -> dict[str, Any]:
    """Return the settings, empty if the file is damaged."""
    try:
        settings = json.loads(text)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def write(module: AnsibleModule, path: Path, content: str, attributes: dict[str, Any]) -> None:
    """Replace the file atomically, by one that already has its owner and mode."""
    # A fixed name, so that the next run overwrites what an interrupted one left behind.
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(content)
    module.set_fs_attributes_if_different({**attributes, "path": str(new)}, changed=False)
    new.replace(path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str", "required": True, "no_log": True},
            "path": {"type": "path", "required": True},
            "image": {"type": "str", "required": True},
            "secrets": {"type": "path", "required": True, "no_log": False},
            "secrets_ready": {"type": "bool", "required": True, "no_log": False},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    params, content, path = module.params, module.params["content"], Path(module.params["path"])
    attributes = module.load_file_common_arguments(params)
    before = path.read_text() if path.exists() else ""
    # The image has code of its own that reads the settings, and the operator's files.
    tried, stamp = path.with_name(f".{path.name}.tried"), tried_with(content, params["image"])
    known = tried.exists() and tried.read_text() == stamp
    if (params["secrets_ready"] or not module.check_mode) and not (before == content and known):
        why = refusal(content, params["image"], params["secrets"], surely=not module.check_mode)
        if why:
            module.fail_json(
                msg=f"The Hub would not start with these settings, so they were not written to {path}:\n{why}"
                if before != content
                else f"The Hub would not start with its new image, so it keeps the one that it has:\n{why}"
            )
        if not module.check_mode:
            write(module, tried, stamp, {**attributes, "path": str(tried)})
    if before == content:
        module.exit_json(changed=module.set_fs_attributes_if_different(attributes, changed=False))
    if not module.check_mode:
        write(module, path, content, attributes)
    headers = {"before_header": str(path), "after_header": str(path)}
    module.exit_json(changed=True, diff={**headers, **difference(before, content)})


if __name__ == "__main__":
    main()
