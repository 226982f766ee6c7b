"""Messages of `make uninstall`: why it refuses, what it removes, and what stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..module_utils import debian_packages
from ..module_utils.rules.tables import general

Found = Mapping[str, Any]
"""What the module `removal_plan` returns, with `delete_data`, `stop_servers` and `check`."""

# Of a long list, so many are named.
NAMED = 8
UNCHANGED = "Nothing was changed."


def misnamed(name: str, root: str, typed: str) -> str:
    """Return what is wrong with the Hub's name, its folder, or what the operator typed; "" if nothing is."""
    wrong = {"jupyterhub_name": [*general.name(name)], "jupyterhub_root": [*general.root(root)]}
    lines = [f"{setting}: {each.what}. Fix: {each.fix}." for setting, found in wrong.items() for each in found]
    if typed and typed != name:
        lines.append(
            f"DELETE_DATA={typed}: this Hub is called {name}. Fix: to delete the files of all of its users for good,"
            f" type DELETE_DATA={name}; to keep them, leave DELETE_DATA out."
        )
    return "\n".join([*lines, UNCHANGED]) if lines else ""


def problems(found: Found, name: str, root: str) -> list[str]:
    """Return why nothing can be removed now."""
    lines = []
    if found["root_is"]:
        lines.append(f"{root} belongs to something else: it contains {found['root_is']}. Fix: correct jupyterhub_root.")
    if found["engine"] == "silent":
        lines.append(
            f"The Docker engine does not answer, or only some requests, so nobody knows what of {name} and of others it"
            " has. Fix: start it (systemctl start docker); if it runs, look into its log (journalctl --unit docker)."
        )
    if found["is_backing_up"]:
        lines.append(
            f"A backup or a restore of {name} is running, and would be torn off. Fix: wait for its end"
            f" (docker ps --filter name={name}-backup)."
        )
    if found["packages_beside"]:
        lines.append(f"{debian_packages.refusal(found['packages'], found['packages_beside'])}.")
    if (servers := found["servers"]) and not found["stop_servers"]:
        lines.append(
            f"{counted(len(servers), 'server is', 'servers are')} running, of {few(sorted(set(servers)))}: what is not"
            " saved there would be lost. Fix: wait until they have stopped, stop them on the Hub's admin page, or add"
            " STOP_SERVERS=yes."
        )
    if found["delete_data"] and found["volumes_in_use"]:
        lines.append(
            f"Containers of something else use volumes of {name}: {few(found['volumes_in_use'])}. Fix: remove those"
            " containers, or leave DELETE_DATA out."
        )
    return lines


def few(names: list[str]) -> str:
    """Return names in one line; of many, the first ones."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number} {one if number == 1 else many}"


def removed(found: Found) -> Iterator[str]:
    """Yield what will be removed, one line for each kind."""
    kinds = {
        "containers": found["containers"],
        "networks": found["networks"],
        "images": [*found["images"], *(each[7:19] for each in found["untagged"])],
        "fence and ceiling": [*found["units"], *found["tables"], *found["slices"], *found["groups"]],
        "files": found["files"],
    }
    if found["delete_data"]:
        kinds["data, for good"] = [*(f"volume {each}" for each in found["volumes"]), *found["data"]]
    if shared := found["shared"]:
        kinds["the engine"] = [found["data_root"]] if found["engine"] == "removed" and found["delete_data"] else []
        kinds["rules of others in the engine's chain DOCKER-USER"] = shared["rules"]
        kinds["packages"] = found["packages"]
        kinds["shared files"] = [*shared["files"], *shared["repository"], *shared["engine_files"]]
    for kind, names in kinds.items():
        if names:
            yield f"{kind} ({len(names)}): {few(names)}"


def kept(found: Found, name: str, root: str) -> Iterator[str]:
    """Yield what stays, each with the reason or the command that removes it."""
    if not found["delete_data"] and (found["volumes"] or found["volumes_in_use"] or found["data"]):
        volumes = counted(len(found["volumes"]), "volume", "volumes")
        yield (
            f"users' files, the Hub's state, audit trail, secrets and certificates ({volumes}, {root}): the next"
            f" deployment finds them. DELETE_DATA={name} deletes them for good"
        )
    if found["adopted"]:
        yield f"volumes without a label of this Hub, which its servers used: {few(found['adopted'])}"
    if found["other_hubs"]:
        hubs = ", ".join(found["other_hubs"])
        yield f"what it shares with other Hubs on this machine ({hubs}): engine, packages, kernel settings"
    elif found["engine"] == "kept":
        yield f"the engine and its packages, since it has something else: {few(found['engine_users'])}"
    elif found["engine"] == "given-back":
        yield "the engine, which no recorded run installed; its settings are as before, from its next restart on"
    if found["packages_unrecorded"]:
        packages = " ".join(found["packages_unrecorded"])
        yield (
            f"packages that an older version may have installed: {packages}. If nothing else needs them, remove them by"
            f" apt-get remove {packages}. Do not purge docker.io: that deletes /var/lib/docker with all volumes"
        )
    reasons = {each: why for each, why in found["packages_kept"].items() if found["engine"] != "kept"}
    if reasons:
        yield "packages: " + ", ".join(f"{each} ({why})" for each, why in sorted(reasons.items()))


def message(found: Found, name: str, root: str, refused: list[str]) -> str:
    """Return what will be removed and what stays."""
    gone, stays = [*removed(found)], [*kept(found, name, root)]
    would = "Would remove" if found["check"] else "Removing"
    lines = (
        [f"{would} the Hub {name}:", *(f"  {line}" for line in gone)]
        if gone
        else [f"There is nothing left to remove of the Hub {name}."]
    )
    lines += ["Stays:", *(f"  {line}" for line in stays)] if stays else []
    return "\n".join([*lines, *(f"But this would be refused: {line}" for line in refused)])
