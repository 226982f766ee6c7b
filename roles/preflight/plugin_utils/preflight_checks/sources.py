"""Where a setting was set, and whether its value may be shown: from the tags of ansible-core 2.19."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible.parsing.vault import VaultHelper

from .specs import Specs

SECRET_NAME = re.compile(r"(password|secret|key|token)$")
SECRET_IN_TEMPLATE = re.compile(r"\{[{%].*(vault|password|secret|key|token)", re.DOTALL)
VAULT_HEADER = "$ANSIBLE_VAULT"
LINE = ", line "


class Sources:
    """Answers about settings, from their values as written and as evaluated."""

    def __init__(self, raw: Mapping[str, Any], values: Mapping[str, Any], specs: Specs) -> None:
        self.raw = raw
        self.values = values
        self.specs = specs
        self.keys = {str(key): key for key in raw}

    def where(self, name: str) -> str:
        """Return file and line of a setting, or "" where that cannot be known."""
        if name not in self.raw:
            return ""
        origins = [Origin.get_tag(tagged) for tagged in _flat(self.raw[name])]
        # An overriding value comes under the key of the value that it overrides.
        if name not in self.specs.defaults:
            origins.append(Origin.get_tag(self.keys[name]))
        origin = next((each for each in origins if each), None)
        if origin is None:
            return self._searched(name)
        if not origin.path:
            return str(origin.description).strip("<>")
        if origin.path.endswith("/defaults/main.yml"):
            return "the default"
        return _place(origin.path, origin.line_num)

    def files(self) -> list[str]:
        """Return the files in which settings are set."""
        places = {self.where(name) for name in self.specs.options}
        return sorted({place.rpartition(LINE)[0] for place in places if LINE in place})

    def _searched(self, name: str) -> str:
        """Return the only line that sets a boolean or null: Ansible cannot tag these."""
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
        """Return whether no message may show the value: by name, by spec, or because some of it was encrypted."""
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
    """Return file and line, the path relative to the working folder where it lies in it."""
    # Resolved, since inventory/group_vars may be a link to group_vars.
    short = str(Path(path).resolve()).removeprefix(f"{Path.cwd()}/")
    return f"{short}{LINE}{line}" if line else short
