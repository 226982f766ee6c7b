"""Write compose/, the Hub as a Compose application, from what the roles are made of: `make compose`.

Coolify builds from that folder alone, so that it holds copies of the images' files; one Dockerfile has all stages,
since each service is built by itself and finds no image of another one.  tests/unit/test_compose.py says when it is
stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from jupyterhub_ansible import environment
from jupyterhub_ansible.compose import images

from plugins.filter import image_plan

PROJECT = Path(__file__).resolve().parents[1]
ROLES = PROJECT / "roles"
FILES = PROJECT / "images"
OWN = Path(__file__).with_name("compose-files")
TARGET = PROJECT / "compose"


WRITTEN = "# Written by bin/compose.py: change what that reads, then run `make compose`."
NAME = "jupyterhub"
SCRIPT_WORDS = ("name", "bridge", "table", "reserve_mb", "group", "subnet", "hub", "proxy")
MAGIC = {name: f"SERVICE_HEX_64_{name.replace('JUPYTERHUB_', '').replace('_', '')}" for name in environment.SECRETS}
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

File = tuple[str, bool]
"""Text, and whether it may be run."""


class Roles:
    """The roles' settings as they are where nobody sets any, but for those of a Compose application."""

    def __init__(self) -> None:
        self.loader = DataLoader()
        self.variables: dict[str, Any] = {"playbook_dir": str(PROJECT / "playbooks")}
        for role in ("jupyterhub", "images", "proxy", "hub"):
            for kind in ("defaults", "vars"):
                path = ROLES / role / kind / "main.yml"
                if path.exists():
                    self.variables |= self.loader.load_from_file(str(path), trusted_as_template=True)
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
            "proxy_hub_url": "http://hub:8081",
            "proxy_users_plan": {"proxy": None},
            "hub_github_client_id": "",
            "images_catalogue": self.catalogue(),
            "ansible_managed": "Part of the image of a Compose application.",
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
    settings = roles.value("__hub_settings")
    hashes = {slug: roles.plan[f"env-{slug}"]["hash"] for slug in roles.built}
    settings["compose"] = {"users_subnet": roles.value("proxy_users_subnet"), "hashes": hashes}
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def fence(roles: Roles) -> str:
    """Return the script of the fence, with a word in @ for what the Hub fills in (jupyterhub_ansible.compose.fence)."""
    words = {word: f"@{word}@" for word in SCRIPT_WORDS}
    template = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=jinja2.select_autoescape([])
    )
    return template.from_string((ROLES / "proxy/templates/fence.j2").read_text()).render(
        ansible_managed=roles.variables["ansible_managed"],
        jupyterhub_name=words["name"],
        proxy_users_bridge=words["bridge"],
        proxy_users_plan={word: words[word] for word in ("subnet", "hub", "proxy")},
        __proxy_fence_table=words["table"],
        __proxy_fence_group=words["group"],
        __proxy_reserve_mb=words["reserve_mb"],
    )


# --- the Dockerfile


class Stage(NamedTuple):
    """A Dockerfile of the role: its folder in compose/, what it is built on, and what its last stage is called."""

    source: str
    folder: str
    parent: str
    name: str
    args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}


def copy_from(folder: str, line: str) -> str:
    """Return a line that copies files of a build context, which is a folder of the new one."""
    *words, target = line.removeprefix("COPY ").split()
    return " ".join(["COPY", *(word if word.startswith("--") else f"{folder}/{word}" for word in words), target])


def stages(stage: Stage) -> Iterator[str]:
    """Yield the lines of a Dockerfile as stages of a larger one."""
    names: dict[str, str] = {}
    lines = (FILES / stage.source / "Dockerfile").read_text().splitlines()
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    for number, line in enumerate(lines):
        # The label lets the classic builder's left-over stages be removed; BuildKit leaves none.
        if line == "ARG BASE" or line.startswith("LABEL jupyterhub-ansible.stage="):
            continue
        if found := re.fullmatch(r"FROM \$\{BASE\}(?: AS (\w+))?", line):
            new = stage.name if number == last else f"{stage.name}-{found[1]}"
            names[found[1] or ""] = new
            yield f"FROM {stage.parent} AS {new}"
        elif line.startswith("COPY --from="):
            yield re.sub(r"--from=(\w+)", lambda found: f"--from={names[found[1]]}", line)
        elif line.startswith("COPY "):
            yield copy_from(stage.folder, line)
        elif found := re.fullmatch(r"ARG (\w+)=.*", line):
            yield f"ARG {found[1]}={stage.args[found[1]]}" if found[1] in stage.args else line
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
            yield copy_from("base", line)
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
    """Return the one Dockerfile."""
    made = [
        Stage("proxy", "proxy", "base", "proxy-image"),
        Stage("hub", "hub", "base", "hub-image"),
        Stage("singleuser", "singleuser", "base", "env-base", labels=labels(roles, "base")),
    ]
    made += [
        Stage(
            image_plan.ON_TOP, slug, "env-base", f"env-{slug}", roles.plan[f"env-{slug}"]["args"], labels(roles, slug)
        )
        for slug in roles.built
        if slug != "base"
    ]
    lines = [WRITTEN, *base_stage(roles)]
    for stage in made:
        lines += ["", *stages(stage)]
    hub_command = next(line for line in lines if line.startswith('CMD ["python", "-m", "jupyterhub_ansible.hub"'))
    return "\n".join(lines) + "\n" + (OWN / "Dockerfile").read_text() + hub_command + "\n"


# --- the other files


def hub_environment() -> dict[str, str]:
    """Return the Hub's variables, as Compose fills them in."""
    given = {
        name: _reference(name, variable.default, required=variable.required)
        for name, variable in environment.VARIABLES.items()
    }
    for name, secret in environment.SECRETS.items():
        default = "" if secret.required else f"${{{MAGIC[name]}:-}}"
        given[name] = _reference(name, default, required=secret.required)
    return {**given, environment.ANYTHING: _reference(environment.ANYTHING)}


def _reference(name: str, default: str = "", *, required: bool = False) -> str:
    if required:
        # Coolify would take a message for the value.
        return f"${{{name}:?}}"
    return f"${{{name}:-{default}}}"


def table() -> str:
    """Return the variables as a table (Markdown)."""
    rows = ["| variable | what it sets | |", "| --- | --- | --- |"]
    for name, variable in environment.VARIABLES.items():
        need = "required" if variable.required else f"default `{variable.default}`" if variable.default else ""
        rows.append(f"| `{name}` | {variable.meaning} | {need} |")
    for name, secret in environment.SECRETS.items():
        rows.append(f"| `{name}` | {secret.meaning} | {'required' if secret.required else 'made once, and kept'} |")
    rows.append(f"| `{environment.ANYTHING}` | {environment.ANYTHING_MEANING} | |")
    for name, (meaning, default) in (OF_THE_FILE | PUBLISHED).items():
        rows.append(f"| `{name}` | {meaning} | default `{default}` |")
    return "\n".join(rows) + "\n"


def _copies(source: str, folder: str) -> Iterator[tuple[str, File]]:
    for path in sorted((FILES / source).rglob("*")):
        inside = path.relative_to(FILES / source)
        if (
            path.is_file()
            and "__pycache__" not in inside.parts
            and inside.name not in ("Dockerfile", "requirements.in")
        ):
            yield f"{folder}/{inside.as_posix()}", (path.read_text(), bool(path.stat().st_mode & 0o100))


def files() -> dict[str, File]:
    """Return everything in compose/, by its path there."""
    roles = Roles()
    made: dict[str, File] = {}
    for folder in ("base", "hub", "proxy", "singleuser"):
        made |= _copies(folder, folder)
    for slug in roles.built:
        if slug != "base":
            made |= _copies(image_plan.ON_TOP, slug)
            made |= {f"{slug}/{name}": (text, False) for name, text in roles.plan[f"env-{slug}"]["files"].items()}
    values = {
        "written": WRITTEN,
        "os": _reference("DOCKER_BASE_IMAGE", str(roles.variables["images_base"])),
        "of_the_file": OF_THE_FILE,
        "published": PUBLISHED,
        "name": _reference("JUPYTERHUB_NAME", NAME),
        "proxy_command": roles.value("__proxy_command"),
        "limits": {name: roles.value(f"__{name}_limits") for name in ("hub", "proxy")},
        "users_subnet": _reference("JUPYTERHUB_USERS_SUBNET", roles.value("proxy_users_subnet")),
        "switch": environment.SWITCH,
        "hub_environment": hub_environment(),
        "built": roles.built,
        "variables": environment.VARIABLES,
        "who": WHO,
        "secrets": environment.SECRETS,
        "anything": (environment.ANYTHING, environment.ANYTHING_MEANING),
        "table": table(),
    }
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(OWN),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=jinja2.select_autoescape([]),
    )
    for path in sorted(OWN.glob("*.j2")):
        name = path.stem
        made[{"env.example": ".env.example"}.get(name, name)] = (template.get_template(path.name).render(values), False)
    made |= {
        "Dockerfile": (dockerfile(roles), False),
        ".dockerignore": ((OWN / "dockerignore").read_text(), False),
        "hub-entrypoint": ((OWN / "hub-entrypoint").read_text(), True),
        "proxy-entrypoint": ((OWN / "proxy-entrypoint").read_text(), True),
        "hub.json": (hub_json(roles), False),
        "fence": (fence(roles), True),
    }
    yaml.safe_load(made["docker-compose.yml"][0])
    return made


def stale() -> list[str]:
    """Return what in compose/ is not as it would be written, by its path there."""
    wanted = files()
    found = {path.relative_to(TARGET).as_posix() for path in TARGET.rglob("*") if path.is_file()}
    differing = {
        name
        for name, (text, runs) in wanted.items()
        if name in found
        and ((TARGET / name).read_text() != text or bool((TARGET / name).stat().st_mode & 0o100) != runs)
    }
    # Beside these folders, operators keep files of their own.
    unwanted = {name for name in found - wanted.keys() if "/" in name and "__pycache__" not in name}
    return sorted({*differing, *(wanted.keys() - found), *unwanted})


def main() -> None:
    """Write compose/."""
    wanted = files()
    for name in stale():
        path = TARGET / name
        if name not in wanted:
            path.unlink()
            continue
        text, runs = wanted[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if runs else 0o644)


if __name__ == "__main__":
    main()
