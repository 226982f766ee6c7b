"""Homes of another Hub, copied to homes here: of The Littlest JupyterHub, or of a Hub with DockerSpawner.

    docker exec jupyterhub-hub python -m jupyterhub_ansible import tljh
    docker exec jupyterhub-hub python -m jupyterhub_ansible import tljh --copy

Without `--copy`, only what would be copied is shown.  The other Hub's folders, volumes and database are only read.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

import docker
from docker import DockerClient
from docker.errors import APIError
from dockerspawner import DockerSpawner

from ..engine.labels import OF_HOMES, carries, labels
from ..rules.mounts import SERVER_UID
from ..settings.model import Settings, SettingsError, load
from . import disk_admission, naming
from .home_archives import HomesError, run_as_root


@dataclass(frozen=True)
class Scheme:
    """Where a Hub keeps its homes and its database."""

    about: str
    homes: str
    """A folder of the machine, or the name of a volume, with `{username}` and `{servername}`."""
    database: str
    """A file of the machine, or `<volume>:<file>`."""


SCHEMES = {
    "tljh": Scheme("The Littlest JupyterHub", "/home/jupyter-{username}", "/opt/tljh/state/jupyterhub.sqlite"),
    "jupyterhub-deploy-docker": Scheme(
        "jupyterhub-deploy-docker", "jupyterhub-user-{username}", "jupyterhub-data:jupyterhub.sqlite"
    ),
    "compose": Scheme(
        "a Compose file whose volumes are named after user and server",
        "jhub-user-{username}-{servername}",
        "jupyterhub-data:jupyterhub.sqlite",
    ),
}
UNFINISHED = ".import-is-not-finished"
"""A file in a home while it is copied: such a home is copied again, another one is left alone."""
_PLACE = re.compile(r"(?P<volume>[A-Za-z0-9][A-Za-z0-9_.-]*):(?P<file>[^/].*)")
# Not while it is written, so without locks and journals, which cannot be made in a folder that is read only.
_READ_DATABASE = """
import json, sqlite3, sys
database = sqlite3.connect(f"file:/from/{sys.argv[1]}?mode=ro&immutable=1", uri=True)
users = database.execute("SELECT id, name, admin FROM users ORDER BY name").fetchall()
servers = {}
for user, server in database.execute("SELECT user_id, name FROM spawners"):
    servers.setdefault(user, {""}).add(server or "")
print(json.dumps([[name, bool(admin), sorted(servers.get(user, {""}))] for user, name, admin in users]))
"""
_SIZE = 'test -d "$1" && du --summarize --block-size 1 --one-file-system "$1" | cut --fields 1 || true'
_COPY = f"""set -eu
touch /to/{UNFINISHED}
cp --archive --one-file-system /from/. /to/
chown --recursive --no-dereference "$1" /to
sync
rm /to/{UNFINISHED}
"""
_LOOK = f'test ! -e "$1/{UNFINISHED}" && test -n "$(ls --almost-all "$1")" && echo complete || true'
_READING = ("DAC_READ_SEARCH",)
_WRITING = ("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID")


@dataclass(frozen=True)
class Person:
    """A user of the other Hub."""

    name: str
    administrator: bool
    servers: tuple[str, ...]
    """"" for the default server."""


@dataclass(frozen=True)
class Home:
    """A home of the other Hub, and what becomes of it."""

    user: str
    server: str
    source: str
    target: str
    size: int
    """Bytes that it takes on the disk."""
    obstacle: str = ""
    """Why it is left alone; "" if it is copied."""


class Importer:
    """Finds and copies homes.

    Args:
        client: of the engine.
        settings: of this Hub.
        homes: the pattern of the other Hub's homes (`Scheme.homes`).
        database: its database (`Scheme.database`).
    """

    def __init__(self, client: DockerClient, settings: Settings, homes: str, database: str) -> None:
        self._client, self._settings = client, settings
        self._project = settings.jupyterhub_name
        self._pattern, self._database = homes, database
        self._volumes = {each.name: each.attrs["Labels"] or {} for each in client.volumes.list()}

    def people(self) -> list[Person]:
        """Return the users of the other Hub, by name.

        Raises:
            HomesError: its database cannot be read.
        """
        if place := _PLACE.fullmatch(self._database):
            folder, file = self._volume(place["volume"]), place["file"]
        else:
            folder, _, file = self._database.rpartition("/")
        try:
            # A folder that does not exist would be made.
            read = f"exec python3 -c '{_READ_DATABASE}' {_quoted(file)}"
            found = json.loads(self._run(read, "", {folder: "/from:ro"}, *_READING))
        except (HomesError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1:] or ["no answer"]
            raise HomesError(f"The database {self._database} cannot be read: {reason[0]}") from None
        return [Person(name, administrator, tuple(servers)) for name, administrator, servers in found]

    def _volume(self, name: str) -> str:
        """Return the volume of this name, as Compose may have called it (`<project>_<name>`)."""
        found = [each for each in self._volumes if each == name or each.endswith(f"_{name}")]
        if name not in found and len(found) != 1:
            which = f"several: {', '.join(sorted(found))}" if found else "none"
            raise HomesError(f"Which volume is {name}? There are {which}. Name the database by --database VOLUME:FILE")
        return name if name in found else found[0]

    def homes(self, people: Iterable[Person]) -> list[Home]:
        """Return the homes that exist, and what would become of each."""
        found = []
        for person in people:
            # With one home for all servers, once.
            servers = person.servers if "{servername}" in self._pattern else ("",)
            found += [home for server in servers if (home := self._home(person.name, server))]
        return found

    def _home(self, user: str, server: str) -> Home | None:
        for source in names_of(self._pattern, user, server):
            if not source.startswith("/") and source not in self._volumes:
                continue
            size = self._size(source)
            if size is None:
                continue
            shared = self._settings.hub_named_servers_share_home
            name = user.lower()
            target = naming.home_name(self._project, name, server, shared=shared)
            return Home(name, server, source, target, size, self._obstacle(source, target, name))
        return None

    def _size(self, source: str) -> int | None:
        """Return the size of a home; None if there is none."""
        if source.startswith("/"):
            # The folder above, since the engine would make one that does not exist.
            folder, _, name = source.rpartition("/")
            answer = self._run(_SIZE, f"/from/{name}", {folder or "/": "/from:ro"}, *_READING)
        else:
            answer = self._run(_SIZE, "/from", {source: "/from:ro"}, *_READING)
        return int(answer) if answer.strip() else None

    def _obstacle(self, source: str, target: str, user: str) -> str:
        if source == target:
            return f"the volume has the name of the home here: set hub_volume_name_template to {self._pattern!r}"
        if target not in self._volumes:
            return ""
        if not carries(self._volumes[target], self._wanted(user, "")):
            return f"the volume {target} exists, and is not a home of this Hub"
        if users := self._client.containers.list(all=True, filters={"volume": target}):
            return f"there is a home already, which the container {users[0].name} uses"
        # Its server may have been started before, and then stopped.
        is_complete = self._run(_LOOK, "/to", {target: "/to:ro"}, *_READING).strip() == "complete"
        return "there is a home already, with files in it" if is_complete else ""

    def _wanted(self, user: str, server: str) -> dict[str, str]:
        return labels(self._project, OF_HOMES, user, server)

    def copy(self, home: Home) -> None:
        """Copy a home; if it fails, or is killed, it is copied again the next time.

        Raises:
            HomesError: it failed.
        """
        server = "" if self._settings.hub_named_servers_share_home else home.server
        self._client.volumes.create(home.target, labels=self._wanted(home.user, server))
        self._run(_COPY, str(SERVER_UID), {home.source: "/from:ro", home.target: "/to"}, *_WRITING)

    def _run(self, script: str, argument: str, volumes: dict[str, str], *capabilities: str) -> str:
        return run_as_root(self._client, self._project, script, argument, volumes, *capabilities)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def names_of(pattern: str, user: str, server: str) -> list[str]:
    """Return the names that a home may have: by TLJH's rule, and by those of new and old DockerSpawners."""
    if pattern.startswith("/"):
        folder, _, name = pattern.rpartition("/")
        return [f"{folder}/{_system_user(name.replace('{username}', user))}"]
    escapes = (DockerSpawner._escape, DockerSpawner._legacy_escape)
    return list(dict.fromkeys(pattern.format(username=each(user), servername=each(server.lower())) for each in escapes))


def _system_user(name: str) -> str:
    """Return what TLJH makes of a name (tljh/normalize.py)."""
    return name if len(name) < 26 else f"{name[:26]}-{hashlib.sha256(name.encode()).hexdigest()[:5]}"


def _check(settings: Settings, homes: str) -> None:
    if settings.hub_volume_name_template:
        raise HomesError("hub_volume_name_template is set: this Hub uses another Hub's volumes where they are")
    if "{username}" not in homes:
        raise HomesError(f"--homes {homes}: has no {{username}}")
    if unknown := set(re.findall(r"\{(\w*)\}", homes)) - {"username", "servername"}:
        raise HomesError(f"--homes {homes}: {{{min(unknown)}}} is not known: use {{username}} and {{servername}}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _show(homes: list[Home], people: list[Person], settings: Settings) -> None:
    for each in homes:
        owner = f"{each.user}/{each.server}" if each.server else each.user
        what = f"left alone: {each.obstacle}" if each.obstacle else f"to {each.target}"
        print(f"{owner}: {each.source} ({_megabytes(each.size)}) {what}")
    owners = {each.user for each in homes}
    if without := [each.name for each in people if each.name.lower() not in owners]:
        print(f"Without a home there: {', '.join(without)}")
    known = {each.lower() for each in settings.hub_admin_users}
    if others := [each.name for each in people if each.administrator and each.name.lower() not in known]:
        print(f"Administrators there, and not in hub_admin_users: {', '.join(others)}")


def main() -> str | None:
    """Show or copy homes; return a message if that fails (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible import", description=__doc__)
    parser.add_argument(
        "scheme", choices=SCHEMES, help="; ".join(f"{key}: {each.about}" for key, each in SCHEMES.items())
    )
    parser.add_argument("--homes", help="pattern of folders or volumes, with {username} and {servername}")
    parser.add_argument("--database", help="the other Hub's SQLite file, or <volume>:<file>")
    parser.add_argument("--copy", action="store_true", help="copy; without it, only show")
    given = parser.parse_args()
    scheme = SCHEMES[given.scheme]
    try:
        settings = load().settings
        homes = given.homes or scheme.homes
        _check(settings, homes)
        importer = Importer(docker.DockerClient(), settings, homes, given.database or scheme.database)
        people = importer.people()
        found = importer.homes(people)
        _show(found, people, settings)
        copied = [each for each in found if not each.obstacle]
        needed, disk = sum(each.size for each in copied), disk_admission.look()
        room = disk.free - settings.hub_reserve_disk_mb * 1024**2
        print(f"{len(copied)} of {len(found)} homes, {_megabytes(needed)}; {_megabytes(max(0, room))} are free.")
        if needed > room:
            return "There is not enough room for them (hub_reserve_disk_mb stays free). Nothing was copied."
        if not given.copy:
            print("Nothing was copied: that is done with --copy.")
            return None
        for number, each in enumerate(copied, 1):
            print(f"{number} of {len(copied)}: {each.source}", flush=True)
            importer.copy(each)
        print("Done. The other Hub's homes stay as they are.")
    except (SettingsError, HomesError) as error:
        return str(error)
    except APIError as error:
        return f"Docker: {error.explanation or error}"
    return None
