"""Whether a part of the machine is as a module left it, which the module itself takes long to find out.

When a module has brought its part to what is wanted, a hash of that and of what the part then is goes into a file in
/run.  As long as both are the same, the module would change nothing.  Of containers the engine tells what they are
(action `settled_container`), of all else a look at the machine does: a command of the shell (action `settled`).
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
"""What tasks ask of a container."""
# A dry run asks for the same in another way.
NOT_WANTED = ("pull",)
# Rounds that take a hundredth of a second: there may be passwords in a module's arguments.
ROUNDS = 20_000
# Of a folder nothing that changes with what is in it; of a file whatever does, as ctime tells of each change.
FIND = r"find %s \( -type d -printf '%%p %%m %%U:%%G\n' -o -printf '%%p %%y %%i %%s %%m %%U:%%G %%C@ %%l\n' \) | sort"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def wanted(arguments: Mapping[str, Any], code: str) -> str:
    """Return a hash of what a module is to do, by which nobody can guess at what is in its arguments.

    Args:
        arguments: of the module.
        code: what tells one version of it from the next, which may do more with the same arguments.
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
    """Return each look at a machine, by its name: its command, and the file in which it is remembered.

    A command that fails has seen something that is not settled.

    Args:
        name: of the deployment.
        root: its folder.
    """
    folders = FIND % f"{shlex.quote(root)} -maxdepth 1 -type d"
    # The engine lists those of the same age in any order.
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
        # Not of the fence: rules that are loaded anew take that file away.
        "fence-proof": _files(f"/run/{name}-fence-proof"),
    }
    return {
        look: {"command": f"export LC_ALL=C; {command}", "stamp": f"/run/{name}-{look}.settled"}
        for look, command in commands.items()
    }


def remember(look: Mapping[str, str]) -> str:
    """Return the command that looks once more, and remembers that and what it reads from its standard input."""
    stamp = shlex.quote(look["stamp"])
    seen = f"seen=$({{ {look['command']}; }} </dev/null) && umask 077"
    return f'{seen} && {{ printf %s "$seen" | sha256sum; cat; }} >{stamp} || rm -f {stamp}'


def compare(seen: Mapping[str, str], wanted: str) -> tuple[bool, dict[str, Any]]:
    """Return whether a part of the machine is as a module with these arguments left it, and what the module returned.

    Args:
        seen: of host_report's `looks`: `now`, a hash of what there is, and `was`, what was remembered.
        wanted: hash of the arguments.
    """
    was, _, text = seen["was"].partition("\n")
    if not seen["now"] or was.split() != [seen["now"], "-"]:
        return False, {}
    try:
        remembered = json.loads(text)
        return remembered["wanted"] == wanted, remembered["kept"]
    except (ValueError, KeyError, TypeError):
        return False, {}  # damaged, or nothing was to be remembered


def found(container: Mapping[str, Any], image: str) -> str:
    """Return a hash of what a container is and does, without what changes by itself.

    Args:
        container: as the engine describes it.
        image: id of what the name of its image stands for, which may be another image since it was made.
    """
    networks = container["NetworkSettings"]["Networks"]
    return _hash(
        {
            **{key: container.get(key) for key in IS},
            "state": {key: container["State"].get(key) for key in DOES},
            "networks": {name: {key: each.get(key) for key in JOINED} for name, each in networks.items()},
            # The engine lists them in any order.
            "mounts": sorted(container.get("Mounts") or [], key=lambda mount: str(mount["Destination"])),
            "image": image,
        }
    )


def seen(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the role's tasks are told of an entry of host_report's `own_containers`."""
    container = report["container"]
    return {
        "stamp": report["stamp"],
        "found": found(container, report["image"]),
        "container": {key: container[key] for key in ASKED},
    }
