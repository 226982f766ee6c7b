"""Write the files of compose/, the Hub as a Compose application, from the roles: `make compose`.

These are hub.json and, in other files, the parts between a line with "written by `make compose`" and the next one with
"end of".  The Dockerfile gets the stages of all images, since Compose builds each service separately, without access to
the images of other services.  tests/unit/test_compose.py fails if something is stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from jupyterhub_ansible.compose import images
from jupyterhub_ansible.rules.secrets import Secret
from jupyterhub_ansible.settings import environment_variables

from plugins.filter import image_catalogue, image_plan

from .compose_dockerfile import FILES, NAME, PROJECT, dockerfile

ROLES = PROJECT / "roles"
TARGET = PROJECT / "compose"
MAGIC = {
    name: f"SERVICE_HEX_64_{name.replace('JUPYTERHUB_', '').replace('_', '')}" for name in environment_variables.SECRETS
}
"""Coolify generates variables of this form once, and keeps them."""
LOGIN_LISTS = ("ALLOWED_GITHUB_ORGS", "ADMIN_GITHUB_USERS")
"""At least one of them must be set, or nobody could log in."""
OF_THE_FILE = {
    "DOCKER_BASE_IMAGE": ("the image of Debian 13 that all images are based on", "debian:trixie-slim"),
    "TRUSTED_PROXIES": (
        "the proxies that are trusted with the client's address (`X-Forwarded-For` and the like): addresses and"
        " networks, separated by commas, or `neighbours`, all on the network that the request comes from",
        "neighbours",
    ),
    "JUPYTERHUB_AUDIT_KEEP_MB": ("MiB of the audit trail that are kept, at least 8", "200"),
    "HTTPS_PROXY": (
        "the HTTP proxy for the Hub's own requests by HTTPS (logins, memberships), `http://`, with user and password if"
        " it asks for them. Builds take theirs from Docker's client (`proxies` in `~/.docker/config.json`)",
        "",
    ),
    "HTTP_PROXY": ("the same for its requests by plain HTTP", ""),
    "NO_PROXY": ("hosts that it reaches without a proxy, separated by commas; its own parts need not be listed", ""),
}
"""Variables that the Compose file itself reads, with meaning and default."""
PUBLISHED = {
    "JUPYTERHUB_ADDRESS": ("plain Compose only: the machine's address on which the port is published", "127.0.0.1"),
    "JUPYTERHUB_PORT": (
        "plain Compose only: that port; a second Hub needs another one. Without a proxy in front, `OAUTH_CALLBACK_URL`"
        " contains it as well",
        "8000",
    ),
}
"""Variables of docker-compose.override.yml, which Coolify does not read."""
LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)
PYTHON = "3.13"


class Roles:
    """The roles' default settings, except for those that differ in a Compose application."""

    def __init__(self) -> None:
        # The variables use lookups and our own filters.
        init_plugin_loader([str(PROJECT / "collections")])
        self.loader = DataLoader()
        self.variables: dict[str, Any] = {"playbook_dir": str(PROJECT / "playbooks"), "role_path": str(ROLES / "hub")}
        for role in ("jupyterhub", "preflight", "images", "network", "proxy", "audit", "hub"):
            for kind in ("defaults", "vars"):
                path = ROLES / role / kind / "main.yml"
                if path.exists():
                    self.variables |= self.loader.load_from_file(str(path), trusted_as_template=True) or {}
        self.plan = image_plan.images_plan(
            self.variables["images_environments"],
            NAME,
            str(self.variables["images_base"]),
            str(self.variables["images_refresh_date"]),
            files=str(FILES),
        )
        self.variables |= {
            "jupyterhub_address": "::",
            "jupyterhub_url": "http://localhost:8000",
            # The address is known only at run time.
            "network_hub_url": "http://hub:8081",
            "network_users_plan": {"proxy": ""},
            "images_catalogue": self.catalogue(),
        }

    @property
    def built(self) -> list[str]:
        """The slugs of environments whose images are built."""
        prefix = "env-"
        return [name.removeprefix(prefix) for name in self.plan if name.startswith(prefix)]

    def catalogue(self) -> list[dict[str, Any]]:
        """Return the environments, with the locked versions as their contents."""
        refs = {self.plan[f"env-{slug}"]["ref"]: slug for slug in self.built}
        locked: dict[str, str] = {}
        contents = {}
        for ref, slug in refs.items():
            folder = "singleuser" if slug == "base" else slug
            locked |= {
                re.sub(r"[-_.]+", "-", name).lower(): version
                for name, version in LOCKED.findall((FILES / folder / "requirements.txt").read_text())
            }
            contents[ref] = {"programs": {"Python": PYTHON}, "packages": dict(locked), "debian": {}}
        entries = image_catalogue.images_catalogue(
            self.variables["images_environments"], self.plan, contents, files=str(FILES)
        )
        return [{**entry, "image": images.reference(NAME, refs[entry["image"]])} for entry in entries]

    def value(self, name: str) -> Any:
        """Return a variable with its templates evaluated."""
        templar = Templar(self.loader, variables=self.variables)
        # Plain data, without Ansible's tags.
        return json.loads(json.dumps(templar.template(self.variables[name])))


def hub_json(roles: Roles) -> str:
    """Return the Hub's settings, which the environment variables override."""
    settings = roles.value("hub_settings")
    del settings["deployment"]["proxy_address"]
    settings["compose"] = {"hashes": {slug: roles.plan[f"env-{slug}"]["hash"] for slug in roles.built}}
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def hub_environment() -> dict[str, str]:
    """Return the Hub's environment variables, with the references that Compose resolves."""
    given = {
        name: _reference(name, variable.default, required=variable.required)
        for name, variable in environment_variables.VARIABLES.items()
    }
    for name, secret in environment_variables.SECRETS.items():
        default = "" if secret.required else f"${{{MAGIC[name]}:-}}"
        given[name] = _reference(name, default, required=secret.required)
    return {**given, environment_variables.ANYTHING: _reference(environment_variables.ANYTHING)}


def _reference(name: str, default: str = "", *, required: bool = False) -> str:
    if required:
        # Without a message, which Coolify would take for the value.
        return f"${{{name}:?}}"
    return f"${{{name}:-{default}}}"


def table() -> str:
    """Return the variables as a Markdown table."""
    rows = ["| variable | what it sets | |", "| --- | --- | --- |"]
    for name, variable in environment_variables.VARIABLES.items():
        need = "required" if variable.required else f"default `{variable.default}`" if variable.default else ""
        rows.append(f"| `{name}` | {variable.meaning} | {need} |")
    for name, secret in environment_variables.SECRETS.items():
        need = "required" if secret.required else "generated once, and kept"
        rows.append(f"| `{name}` | {secret.meaning} | {need} |")
    rows.append(f"| `{environment_variables.ANYTHING}` | {environment_variables.ANYTHING_MEANING} | |")
    for name, (meaning, default) in (OF_THE_FILE | PUBLISHED).items():
        rows.append(f"| `{name}` | {meaning} | {f'default `{default}`' if default else ''} |".replace("  |", " |"))
    return "\n".join(rows) + "\n"


def example() -> str:
    """Return the variables in the form of .env.example."""
    groups: dict[str, Mapping[str, Any]] = {
        "required": {name: each for name, each in _all().items() if each.required},
        "who may log in: at least one of these": {name: environment_variables.VARIABLES[name] for name in LOGIN_LISTS},
        "optional": {
            **{
                name: each
                for name, each in environment_variables.VARIABLES.items()
                if not each.required and name not in LOGIN_LISTS
            },
            environment_variables.ANYTHING: Shown(environment_variables.ANYTHING_MEANING),
            **{name: Shown(*each) for name, each in OF_THE_FILE.items()},
        },
        "secrets, generated once and kept if they are not set: openssl rand -hex 32": {
            name: each for name, each in environment_variables.SECRETS.items() if not each.required
        },
        "plain Compose only": {name: Shown(*each) for name, each in PUBLISHED.items()},
    }
    lines = []
    for title, variables in groups.items():
        lines += ["", f"# --- {title}"]
        for name, variable in variables.items():
            off = "" if variable.required or name in LOGIN_LISTS else "# "
            lines += [f"# {variable.meaning}", f"{off}{name}={getattr(variable, 'default', '')}"]
    return "\n".join(lines[1:]) + "\n"


class Shown(NamedTuple):
    """The documentation of a variable that the Hub itself does not read."""

    meaning: str
    default: str = ""
    required: bool = False


def _all() -> dict[str, environment_variables.Variable | Secret]:
    return {**environment_variables.VARIABLES, **environment_variables.SECRETS}


def files() -> dict[str, str]:
    """Return what to write: the text by file in compose/, and by the part of the file, if it is not the whole."""
    roles = Roles()
    given = "".join(f"      {name}: {value}\n" for name, value in hub_environment().items())
    return {
        "hub.json": hub_json(roles),
        "Dockerfile: stages": dockerfile(roles.plan, roles.built, str(roles.variables["images_refresh_date"])),
        "docker-compose.yml: variables": given,
        ".env.example: variables": example(),
        "README.md: variables": table(),
    }


def rewritten(name: str, text: str) -> tuple[Path, str]:
    """Return a file's path and its new content."""
    file, _, part = name.partition(": ")
    path = TARGET / file
    if not part:
        return path, text
    before = path.read_text()
    marks = re.compile(rf"(\n[^\n]*{part}, written by `make compose`[^\n]*\n)(.*?)([^\n]*end of {part}\b)", re.DOTALL)
    if len(marks.findall(before)) != 1:
        raise SystemExit(f"compose/{file} lacks the lines between which `make compose` writes its {part}")
    return path, marks.sub(lambda match: match[1] + text + match[3], before)


def stale() -> list[str]:
    """Return the files and parts in compose/ that are out of date."""
    return [name for name, text in files().items() if not _is_there(*rewritten(name, text))]


def _is_there(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def main() -> None:
    """Write everything."""
    for name, text in files().items():
        path, new = rewritten(name, text)
        path.write_text(new)


if __name__ == "__main__":
    main()
