"""Write docs/reference/settings.md from the argument specs and defaults of all roles: `make docs`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from plugins.filter.image_plan import WAYS
from plugins.module_utils.rules.specs import TABLE, Specs
from plugins.plugin_utils.preflight.specs import load

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs/reference/settings.md"
LONGEST_DEFAULT = 60
# Only preflight checks them.
NOT_OF_THE_HUB = ("hub_github_callback_url",)
OF_OTHER_ROLES = (
    "jupyterhub_name",
    "jupyterhub_url",
    "jupyterhub_address",
    "jupyterhub_port",
    "network_users_subnet",
    "proxy_token",
    "images_environments",
)
INTRODUCTION = """\
<!-- Written by bin/reference.py from the roles' argument specs: change those, then run `make docs`. -->
# Settings

Settings are variables of your inventory, best kept in `group_vars/`. All have defaults or may stay unset. Types are
checked strictly (`"no"` is a string, not `false`), and an unknown name that looks like a setting stops the run.
"""


def text(description: str | list[str]) -> str:
    """Return a description as Markdown on one line."""
    whole = description if isinstance(description, str) else " ".join(description)
    whole = re.sub(r"\b[BCIOV]\((.*?)\)(?=[\s.,;:)]|$)", r"`\1`", " ".join(whole.split()))
    return whole.replace("|", "\\|")


def kind(option: Mapping[str, Any]) -> str:
    """Return the type of a setting, with the type of a list's items, and its choices."""
    name = str(option.get("type", "str"))
    if name == "list":
        name = f"list of {option.get('elements', 'raw')}"
    choices = option.get("choices")
    return f"{name}: {', '.join(f'`{choice}`' for choice in choices)}" if choices else name


def default(value: Any, role: str) -> str:
    """Return a default as written in YAML, or where to find it if it is long."""
    if value is None:
        return "unset"
    written = value if isinstance(value, str) else json.dumps(value)
    written = written.replace("|", "\\|")
    return f"`{written}`" if len(written) <= LONGEST_DEFAULT else f"see `roles/{role}/defaults/main.yml`"


def rows(options: Mapping[str, Any], defaults: Mapping[str, Any], role: str) -> Iterator[str]:
    """Yield a table of settings."""
    yield "| setting | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, option in options.items():
        value = "required" if option.get("required") else default(defaults.get(name), role)
        yield f"| `{name}` | {kind(option)} | {value} | {text(option['description'])} |"


def nested_tables(options: Mapping[str, Any], role: str, path: str = "") -> Iterator[str]:
    """Yield a table for every setting that has keys, and recursively for its keys."""
    for name, option in options.items():
        if nested := option.get("options"):
            defaults = {key: inner.get("default") for key, inner in nested.items()}
            heading = "Each item of" if option.get("type") == "list" else "Keys of"
            yield from (f"### {heading} `{path}{name}`", "", *rows(nested, defaults, role), "")
            yield from nested_tables(nested, role, f"{path}{name}[].")


def render(specs: Specs) -> str:
    """Return the whole page."""
    lines = [INTRODUCTION]
    for role in sorted(set(specs.roles.values()), key=lambda name: (name != "jupyterhub", name)):
        options = {name: option for name, option in specs.options.items() if specs.roles[name] == role}
        lines += [f"## {role}", "", *rows(options, specs.defaults, role), ""]
        lines += nested_tables(options, role)
    return "\n".join(lines).rstrip() + "\n"


def page() -> str:
    """Return the current page."""
    return render(load(PROJECT / "roles", lambda path: yaml.safe_load(path.read_text())))


def of_the_hub() -> str:
    """Return the specs of the settings in hub.json and of the secrets, as JSON, for the Hub's own checks."""
    declared = load(PROJECT / "roles", lambda path: yaml.safe_load(path.read_text()))
    names = [name for name, role in declared.roles.items() if role == "hub" and name not in NOT_OF_THE_HUB]
    options = {name: declared.options[name] for name in (*names, *OF_OTHER_ROLES)}
    entries = options["images_environments"]["options"]
    made = {name: option for name, option in entries.items() if name not in WAYS}
    # Keys that a deployment adds, and `pull`, for a Hub without a deployment.
    made |= {
        "image": {"type": "str", "required": True, "description": "The image."},
        "contents": {"type": "list", "elements": "dict", "default": [], "description": "What was found in it."},
        "tells_activity": {"type": "bool", "description": "Its servers report when they were in use."},
        "pull": {"type": "bool", "description": "The Hub pulls it."},
    }
    options["images_environments"] = {**options["images_environments"], "options": made}
    return json.dumps(options, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
    TABLE.write_text(of_the_hub())
