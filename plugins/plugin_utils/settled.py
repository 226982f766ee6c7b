"""Finds out whether a part of the machine is still as a module left it, faster than the module itself can.

After a module has run, a hash of its arguments and a hash of the resulting state are written into a file in /run.  As
long as both are the same, the module would change nothing.  The state of containers comes from the engine (action
`settled_container`), that of everything else from a "look": a shell command (action `settled`).
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from typing import Any

IS = ("Id", "Image", "Path", "Args", "Config", "HostConfig")
DOES = ("Status", "Paused")
JOINED = ("NetworkID", "Aliases", "IPAMConfig")
ASKED = ("Id", "State", "NetworkSettings")
"""What tasks read of a container."""
# Differs in a dry run.
NOT_WANTED = ("pull",)
# Takes a hundredth of a second, against guessing: a module's arguments may contain passwords.
ROUNDS = 20_000
# For folders, nothing that changes with their content; for files, also ctime, which changes with every modification.
FIND = r"find %s \( -type d -printf '%%p %%m %%U:%%G\n' -o -printf '%%p %%y %%i %%s %%m %%U:%%G %%C@ %%l\n' \) | sort"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def wanted(arguments: Mapping[str, Any], code: str) -> str:
    """Return a hash of a module's task, from which its arguments cannot be guessed.

    Args:
        arguments: of the module.
        code: identifies the module's version, since another one may do more with the same arguments.
    """
    given = {key: value for key, value in arguments.items() if key not in NOT_WANTED}
    text = json.dumps([given, code], sort_keys=True)
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"settled", ROUNDS).hex()


def _files(*paths: str) -> str:
    quoted = " ".join(map(shlex.quote, paths))
    return f"ls -d {quoted} >/dev/null && {FIND % quoted}"


def _watched(name: str, script: str) -> str:
    unit = shlex.quote(f"{name}-{script.rpartition('/')[2]}.service")
    file = FIND % f"/etc/systemd/system -mindepth 1 -maxdepth 1 -name {unit}"
    runs = f"systemctl --quiet is-enabled {unit} && systemctl show -p SubState -p NeedDaemonReload {unit}"
    check = f"{shlex.quote(script)} check | grep -x 'in force'"
    watched = f"{{ [ ! -d /run/systemd/system ] || {{ {runs}; }}; }}"
    return " && ".join([_files(script, f"{script}.conf"), file, watched, check])


def looks(name: str, root: str) -> dict[str, dict[str, str]]:
    """Return the looks by name, each with its command and the file that stores its result.

    A command that fails means that the part is not settled.

    Args:
        name: of the deployment.
        root: its folder.
    """
    folders = FIND % f"{shlex.quote(root)} -maxdepth 1 -type d"
    # Sorted, since the engine lists images of the same age in any order.
    images = "docker image ls --no-trunc --digests --format '{{.ID}} {{.Repository}}:{{.Tag}}@{{.Digest}}'"
    images = f'images=$({images}) && echo "$images" | sort'
    commands = {
        "engine-settings": _files("/etc/docker/daemon.json", "/etc/docker/managed-by-jupyterhub-ansible"),
        "images": f"{images} && {_files(f'{root}/builds/contents.json')}",
        "proxy-secrets": f"{folders} && {_files(f'{root}/proxy/secrets')}",
        **{each: _watched(name, f"{root}/proxy/{each}") for each in ("fence", "ceiling")},
        "ingress-secrets": f"{folders} && {_files(f'{root}/ingress/caddy/secrets')}",
        "ingress-data": FIND % f"{shlex.quote(root)}/ingress/data -maxdepth 0",
        "ingress-settings": _files(f"{root}/ingress/caddy/Caddyfile"),
        "hub-secrets": f"{folders} && {_files(f'{root}/proxy/secrets', f'{root}/hub/secrets')}",
        "hub-settings": _files(f"{root}/hub/hub.json"),
        # Need not cover the fence: reloading its rules removes this file.
        "fence-proof": _files(f"/run/{name}-fence-proof"),
    }
    # An action runs these commands outside of a module, without the play's environment.
    plain = "export LC_ALL=C DOCKER_HOST=unix:///var/run/docker.sock DOCKER_TLS= DOCKER_TLS_VERIFY="
    return {
        look: {"command": f"{plain}; {command}", "stamp": f"/run/{name}-{look}.settled"}
        for look, command in commands.items()
    }


def remember(look: Mapping[str, str]) -> str:
    """Return the command that stores the look's current result, and what it reads from its standard input."""
    stamp = shlex.quote(look["stamp"])
    seen = f"seen=$({{ {look['command']}; }} </dev/null) && umask 077"
    return f'{seen} && {{ printf %s "$seen" | sha256sum; cat; }} >{stamp} || rm -f {stamp}'


def compare(seen: Mapping[str, str], wanted: str) -> tuple[bool, dict[str, Any]]:
    """Return whether a part of the machine is as a module with these arguments left it, and the remembered values.

    Args:
        seen: from host_report's `looks`: `now`, a hash of the current state, and `was`, what was remembered.
        wanted: hash of the arguments.
    """
    was, _, text = seen["was"].partition("\n")
    if not seen["now"] or was.split() != [seen["now"], "-"]:
        return False, {}
    try:
        remembered = json.loads(text)
        return remembered["wanted"] == wanted, remembered["kept"]
    except (ValueError, KeyError, TypeError):
        return False, {}  # Damaged, or nothing was remembered.


def found(container: Mapping[str, Any], image: str) -> str:
    """Return a hash of a container's configuration and state, without what changes by itself.

    Args:
        container: as the engine describes it.
        image: the id that the name of its image has now, which may not be the image that it was created from.
    """
    networks = container["NetworkSettings"]["Networks"]
    return _hash(
        {
            **{key: container.get(key) for key in IS},
            "state": {key: container["State"].get(key) for key in DOES},
            "networks": {name: {key: each.get(key) for key in JOINED} for name, each in networks.items()},
            # Sorted, since the engine lists them in any order.
            "mounts": sorted(container.get("Mounts") or [], key=lambda mount: str(mount["Destination"])),
            "image": image,
        }
    )


def seen(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tasks need to know of an entry of host_report's `own_containers`."""
    container = report["container"]
    return {
        "stamp": report["stamp"],
        "found": found(container, report["image"]),
        "container": {key: container[key] for key in ASKED},
    }
