"""Write what the roles say into compose/, the Hub as a Compose application: `make compose`.

That is hub.json, and in its other files the parts between a line with "written by `make compose`" and the next one with
"end of".  Of the Dockerfile it is the stages of images/: Compose builds each service by itself, which finds no image of
another one.  tests/unit/test_compose.py says when something is stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from jupyterhub_ansible.compose import images
from jupyterhub_ansible.rules.secrets import Secret
from jupyterhub_ansible.settings import environment_variables

from plugins.filter import image_plan

PROJECT = Path(__file__).resolve().parents[1]
ROLES = PROJECT / "roles"
FILES = PROJECT / "images"
TARGET = PROJECT / "compose"


NAME = "jupyterhub"
MAGIC = {
    name: f"SERVICE_HEX_64_{name.replace('JUPYTERHUB_', '').replace('_', '')}" for name in environment_variables.SECRETS
}
"""Coolify makes a variable of this form once, and keeps it."""
WHO = ("ALLOWED_GITHUB_ORGS", "ADMIN_GITHUB_USERS")
"""Without one of them nobody could log in."""
OF_THE_FILE = {
    "DOCKER_BASE_IMAGE": ("the Debian 13 that all images are built on", "debian:trixie-slim"),
    "TRUSTED_PROXIES": (
        "whose word about the client is believed (`X-Forwarded-For` and the like): addresses and networks, separated by"
        " commas, or `neighbours`, all on the network that the request comes by",
        "neighbours",
    ),
}
"""What the Compose file itself reads: meaning and default."""
PUBLISHED = {
    "JUPYTERHUB_ADDRESS": ("plain Compose alone: the address of the machine that it is published on", "127.0.0.1"),
    "JUPYTERHUB_PORT": (
        "plain Compose alone: the port there; another one for a second Hub. `OAUTH_CALLBACK_URL` has it, too, unless"
        " there is a proxy in front",
        "8000",
    ),
}
"""Of docker-compose.override.yml, which Coolify does not read."""
LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)
PYTHON = "3.13"


class Roles:
    """The roles' settings as they are where nobody sets any, but for those of a Compose application."""

    def __init__(self) -> None:
        # Variables ask for files, and for our own filters.
        init_plugin_loader([str(PROJECT / "collections")])
        self.loader = DataLoader()
        self.variables: dict[str, Any] = {"playbook_dir": str(PROJECT / "playbooks"), "role_path": str(ROLES / "hub")}
        for role in ("jupyterhub", "preflight", "images", "network", "proxy", "hub"):
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
            # Its address is known only where it runs.
            "network_hub_url": "http://hub:8081",
            "network_users_plan": {"proxy": ""},
            "images_catalogue": self.catalogue(),
        }

    @property
    def built(self) -> list[str]:
        """Slugs of the environments whose images are built."""
        prefix = "env-"
        return [name.removeprefix(prefix) for name in self.plan if name.startswith(prefix)]

    def catalogue(self) -> list[dict[str, Any]]:
        """Return the environments, with the versions of the locks as their contents."""
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
        entries = image_plan.images_catalogue(
            self.variables["images_environments"], self.plan, contents, files=str(FILES)
        )
        return [{**entry, "image": images.reference(NAME, refs[entry["image"]])} for entry in entries]

    def value(self, name: str) -> Any:
        """Return a variable, with those that it is made of filled in."""
        templar = Templar(self.loader, variables=self.variables)
        # Plain data, without Ansible's marks.
        return json.loads(json.dumps(templar.template(self.variables[name])))


def hub_json(roles: Roles) -> str:
    """Return the Hub's settings, over which the variables are laid."""
    settings = roles.value("hub_settings")
    del settings["deployment"]["proxy_address"]
    settings["compose"] = {"hashes": {slug: roles.plan[f"env-{slug}"]["hash"] for slug in roles.built}}
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


# --- the Dockerfile


class Stage(NamedTuple):
    """A Dockerfile of images/: its folder, what it is built on, and what its last stage is called."""

    source: str
    parent: str
    name: str
    args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    files: str = ""
    """The folder of files that its own lacks."""


def copy_from(folders: Sequence[str], line: str) -> str:
    """Return a line that copies files of a build context, which is here the whole project."""
    *words, target = line.removeprefix("COPY ").split()
    return " ".join(["COPY", *(word if word.startswith("--") else found(folders, word) for word in words), target])


def found(folders: Sequence[str], name: str) -> str:
    """Return a file of the first of these folders of images/ that has it."""
    for folder in folders:
        path = FILES / folder / name
        if path.exists():
            return path.relative_to(PROJECT).as_posix() + ("/" if name.endswith("/") else "")
    raise SystemExit(f"{folders[0]}/Dockerfile copies {name}, which is in none of {', '.join(folders)}")


def stages(stage: Stage) -> Iterator[str]:
    """Yield the lines of a Dockerfile as stages of a larger one."""
    names: dict[str, str] = {}
    lines = (FILES / stage.source / "Dockerfile").read_text().splitlines()
    folders = [name for name in (stage.source, stage.files, ".") if name]
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    for number, line in enumerate(lines):
        # The label lets the classic builder's left-over stages be removed; BuildKit leaves none.
        if line == "ARG BASE" or line.startswith("LABEL jupyterhub-ansible.stage="):
            continue
        if begins := re.fullmatch(r"FROM \$\{BASE\}(?: AS (\w+))?", line):
            new = stage.name if number == last else f"{stage.name}-{begins[1]}"
            names[begins[1] or ""] = new
            yield f"FROM {stage.parent} AS {new}"
        elif line.startswith("COPY --from="):
            yield re.sub(r"--from=(\w+)", lambda stage: f"--from={names[stage[1]]}", line)
        elif line.startswith("COPY "):
            yield copy_from(folders, line)
        elif given := re.fullmatch(r"ARG (\w+)=.*", line):
            yield f"ARG {given[1]}={stage.args[given[1]]}" if given[1] in stage.args else line
        elif line.startswith("FROM "):
            raise SystemExit(f"{stage.source}/Dockerfile: bin/compose.py does not understand: {line}")
        else:
            yield line
    if stage.labels:
        # Not by the variable's name, which Coolify would declare in every stage: each would be built for each name.
        yield f"ARG PROJECT={NAME}"
        yield "LABEL " + " \\\n      ".join(f"{name}={value}" for name, value in stage.labels.items())


def base_stage(roles: Roles) -> Iterator[str]:
    """Yield the lines of the base, which is built on the distribution."""
    for line in (FILES / "base/Dockerfile").read_text().splitlines():
        if line == "FROM ${OS}":
            yield "FROM ${OS} AS base"
            yield "# A later date has the distribution's security updates fetched."
            yield f"ARG REFRESHED={roles.variables['images_refresh_date']}"
        elif line.startswith("COPY "):
            yield copy_from(["base"], line)
        else:
            yield line


def labels(roles: Roles, slug: str) -> dict[str, str]:
    """Return the labels by which the Hub finds an image, and for which Coolify's clean-up leaves it alone."""
    return {
        "jupyterhub-ansible.project": "${PROJECT}",
        "jupyterhub-ansible.kind": "environment",
        images.ENVIRONMENT: slug,
        images.HASH: roles.plan[f"env-{slug}"]["hash"],
        "coolify.managed": "true",
    }


def dockerfile(roles: Roles) -> str:
    """Return the stages of all images."""
    made = [
        Stage("proxy", "base", "proxy-image"),
        Stage("hub", "base", "hub-image"),
        Stage("singleuser", "base", "env-base", labels=labels(roles, "base")),
    ]
    for slug in roles.built:
        if slug != "base":
            args = roles.plan[f"env-{slug}"]["args"]
            made.append(Stage(image_plan.ON_TOP, "env-base", f"env-{slug}", args, labels(roles, slug), files=slug))
    lines = list(base_stage(roles))
    for stage in made:
        lines += ["", *stages(stage)]
    return "\n".join(lines) + "\n"


# --- the other files


def hub_environment() -> dict[str, str]:
    """Return the Hub's variables, as Compose fills them in."""
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
        # Coolify would take a message for the value.
        return f"${{{name}:?}}"
    return f"${{{name}:-{default}}}"


def table() -> str:
    """Return the variables as a table (Markdown)."""
    rows = ["| variable | what it sets | |", "| --- | --- | --- |"]
    for name, variable in environment_variables.VARIABLES.items():
        need = "required" if variable.required else f"default `{variable.default}`" if variable.default else ""
        rows.append(f"| `{name}` | {variable.meaning} | {need} |")
    for name, secret in environment_variables.SECRETS.items():
        rows.append(f"| `{name}` | {secret.meaning} | {'required' if secret.required else 'made once, and kept'} |")
    rows.append(f"| `{environment_variables.ANYTHING}` | {environment_variables.ANYTHING_MEANING} | |")
    for name, (meaning, default) in (OF_THE_FILE | PUBLISHED).items():
        rows.append(f"| `{name}` | {meaning} | default `{default}` |")
    return "\n".join(rows) + "\n"


def example() -> str:
    """Return the variables as .env.example has them."""
    groups: dict[str, Mapping[str, Any]] = {
        "required": {name: each for name, each in _all().items() if each.required},
        "who may log in: at least one of these": {name: environment_variables.VARIABLES[name] for name in WHO},
        "optional": {
            **{
                name: each
                for name, each in environment_variables.VARIABLES.items()
                if not each.required and name not in WHO
            },
            environment_variables.ANYTHING: Shown(environment_variables.ANYTHING_MEANING),
            **{name: Shown(*each) for name, each in OF_THE_FILE.items()},
        },
        "secrets that are made once and kept where they are not given: openssl rand -hex 32": {
            name: each for name, each in environment_variables.SECRETS.items() if not each.required
        },
        "docker compose alone": {name: Shown(*each) for name, each in PUBLISHED.items()},
    }
    lines = []
    for title, variables in groups.items():
        lines += ["", f"# --- {title}"]
        for name, variable in variables.items():
            off = "" if variable.required or name in WHO else "# "
            lines += [f"# {variable.meaning}", f"{off}{name}={getattr(variable, 'default', '')}"]
    return "\n".join(lines[1:]) + "\n"


class Shown(NamedTuple):
    """What is said of a variable that the Hub does not read itself."""

    meaning: str
    default: str = ""
    required: bool = False


def _all() -> dict[str, environment_variables.Variable | Secret]:
    return {**environment_variables.VARIABLES, **environment_variables.SECRETS}


def files() -> dict[str, str]:
    """Return what is written: the text by its file in compose/, and by the part of it, if it is not the whole."""
    roles = Roles()
    given = "".join(f"      {name}: {value}\n" for name, value in hub_environment().items())
    return {
        "hub.json": hub_json(roles),
        "Dockerfile: stages": dockerfile(roles),
        "docker-compose.yml: variables": given,
        ".env.example: variables": example(),
        "README.md: variables": table(),
    }


def rewritten(name: str, text: str) -> tuple[Path, str]:
    """Return a file, and what would be in it."""
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
    """Return what in compose/ is not as it would be written."""
    return [name for name, text in files().items() if not _is_there(*rewritten(name, text))]


def _is_there(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def main() -> None:
    """Write it."""
    for name, text in files().items():
        path, new = rewritten(name, text)
        path.write_text(new)


if __name__ == "__main__":
    main()
