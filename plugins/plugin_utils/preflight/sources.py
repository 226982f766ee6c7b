"""Where a setting was set, and whether its value may be shown, from the tags of ansible-core 2.19."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible.parsing.vault import VaultHelper

from ...module_utils.rules.check import DEFAULT, SECRET_NAME
from ...module_utils.rules.placeholders import is_placeholder
from ...module_utils.rules.specs import Specs

SECRET_IN_TEMPLATE = re.compile(r"\{[{%].*(vault|password|secret|key|token)", re.DOTALL)
# A key in a mapping, such as a trait.
SECRET_KEY = re.compile(r"(password|secret|token)$", re.IGNORECASE)
# Ansible's own passwords, and the vault's variables that settings refer to.
SECRET_VARIABLE = re.compile(r"vault_|ansible_(ssh_|sudo_|su_|become_)?pass(word)?$")
VAULT_FILE = re.compile(r"vault.*\.ya?ml|.*[._-]vault\.ya?ml")
VAULT_HEADER = "$ANSIBLE_VAULT"
LINE = ", line "
PASSWORD_IN_URL = re.compile(r"://[^/@\s:]+:[^/@\s]+@")


class Sources:
    """Knows where settings come from, by their values as written and as evaluated."""

    def __init__(self, raw: Mapping[str, Any], values: Mapping[str, Any], specs: Specs) -> None:
        self.raw = raw
        self.values = values
        self.specs = specs
        self.keys = {str(key): key for key in raw}

    def where(self, name: str) -> str:
        """Return file and line of a setting, or "" if unknown."""
        if name not in self.raw:
            return ""
        origins = [Origin.get_tag(tagged) for tagged in _flat(self.raw[name])]
        # An overriding value keeps the key of the value that it overrides, so then the key's place is wrong.
        if name not in self.specs.defaults:
            origins.append(Origin.get_tag(self.keys[name]))
        origin = next((each for each in origins if each), None)
        if origin is None:
            return self._searched(name)
        if not origin.path:
            return str(origin.description).strip("<>")
        if origin.path.endswith("/defaults/main.yml"):
            return DEFAULT
        return _place(origin.path, origin.line_num)

    def files(self) -> list[str]:
        """Return the files in which settings are set."""
        places = {self.where(name) for name in self.specs.options}
        return sorted({place.rpartition(LINE)[0] for place in places if LINE in place})

    def exposed(self) -> dict[str, str]:
        """Return the secrets that are in plain text in files that git tracks, with file and line.

        A vault file that is not encrypted is reported once, as a file.
        """
        found: dict[str, str] = {}
        for name, raw in self.raw.items():
            ours = name in self.specs.options
            if not ours and not SECRET_VARIABLE.match(name):
                continue
            secret = not ours or bool(SECRET_NAME.search(name) or self.specs.options[name].get("no_log"))
            for about, value in _strings(name, raw):
                path = _plain_in(value)
                readable = secret or SECRET_KEY.search(about) or PASSWORD_IN_URL.search(value)
                if path and readable and _tracked(path):
                    place = _place(str(path), Origin.get_tag(value).line_num)
                    vault = bool(VAULT_FILE.fullmatch(path.name))
                    found.setdefault(place.rpartition(LINE)[0] if vault else about, "" if vault else place)
        return found

    def _searched(self, name: str) -> str:
        """Return the place of a boolean or null, which Ansible cannot tag, if exactly one line sets it."""
        folders = {str(self.raw.get(folder)) for folder in ("inventory_dir", "playbook_dir")}
        places = {
            _place(str(path), number)
            for folder in folders
            for variables in ("group_vars", "host_vars")
            for path in Path(folder, variables).rglob("*.y*ml")
            if path.is_file()
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
            if line.startswith(f"{name}:")
        }
        return places.pop() if len(places) == 1 else ""

    def is_secret(self, name: str) -> bool:
        """Return whether messages must not show the value: by its name or spec, or because part of it was encrypted."""
        if SECRET_NAME.search(name) or self.specs.options.get(name, {}).get("no_log"):
            return True
        parts = [*_flat(self.raw.get(name)), *_flat(self.values.get(name))]
        return any(_encrypted(part) or (isinstance(part, str) and SECRET_IN_TEMPLATE.search(part)) for part in parts)


def _flat(value: Any) -> Iterator[Any]:
    """Yield a value and everything in it."""
    yield value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    for each in inner:
        yield from _flat(each)


def _strings(about: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the strings in a value, each with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(f"{about}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _strings(f"{about}[{index}]", inner)
    elif isinstance(value, str):
        yield about, value


def _plain_in(value: str) -> Path | None:
    """Return the file that has a string in plain text; None if it is encrypted, a template or a placeholder."""
    origin = Origin.get_tag(value)
    if not origin or not origin.path or _encrypted(value) or "{{" in value or is_placeholder(value, secret=True):
        return None
    # inventory/group_vars may be a link to group_vars.
    return Path(origin.path).resolve()


@cache
def _tracked(path: Path) -> bool:
    """Return whether git tracks a file; False also if git is not installed."""
    # safe.directory: the folder may belong to another user.
    command = ["git", "-c", "safe.directory=*", "-C", str(path.parent), "ls-files", "--error-unmatch", path.name]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _encrypted(value: Any) -> bool:
    if VaultHelper.get_ciphertext(value, with_tags=False):
        return True
    origin = Origin.get_tag(value)
    return bool(origin and origin.path and _is_vault(Path(origin.path)))


def _is_vault(path: Path) -> bool:
    try:
        with path.open(errors="replace") as file:
            return file.read(len(VAULT_HEADER)) == VAULT_HEADER
    except OSError:
        return False


def _place(path: str, line: int | None) -> str:
    """Return file and line, with a relative path if the file is in the working folder."""
    # Resolved, since inventory/group_vars may be a link to group_vars.
    short = str(Path(path).resolve()).removeprefix(f"{Path.cwd()}/")
    return f"{short}{LINE}{line}" if line else short
