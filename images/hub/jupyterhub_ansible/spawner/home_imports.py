"""Homes of another Hub, copied to homes here: of The Littlest JupyterHub, or of a Hub with DockerSpawner.

    docker exec jupyterhub-hub python -m jupyterhub_ansible import tljh
    docker exec jupyterhub-hub python -m jupyterhub_ansible import tljh --copy

Without `--copy`, only what would be copied is shown.  The other Hub's folders, volumes and database are only read.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import docker
from docker import DockerClient
from docker.errors import APIError, NotFound
from dockerspawner import DockerSpawner
from jupyterhub.slugs import is_valid_safe_slug, safe_slug

from ..engine.labels import KIND, OF_HOMES, PROJECT, USER, carries, labels
from ..rules.mounts import SERVER_UID
from ..settings.model import Settings, SettingsError, load
from ..workspaces.accounts import is_account
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
"""A folder in a home into which it is copied first: whatever cuts the copy off, the home has none of its files."""
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
_SIZE = 'test ! -d "$1" || du --summarize --block-size 1 --one-file-system "$1" 2>/dev/null | cut --fields 1'
_COPY = f"""set -eu
part=/to/{UNFINISHED}
rm -rf "$part"
mkdir "$part"
cp --archive --one-file-system /from/. "$part/"
chown --recursive --no-dereference "$1" "$part"
chown "$1" /to
sync
# What the user made meanwhile stays; what has the same name is put beside it.
find "$part" -mindepth 1 -maxdepth 1 -exec mv --no-clobber --target-directory /to {{}} + || true
rmdir "$part" 2>/dev/null || mv --no-target-directory "$part" /to/imported
"""
_LOOK = f'test ! -e "$1/{UNFINISHED}" && test -n "$(ls --almost-all "$1")" && echo complete || true'
_MACHINE = {"/": "/from:ro"}
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

    owner: str
    """The user's name there."""
    user: str
    """The user's name here."""
    server: str
    source: str
    target: str
    size: int
    """Bytes that it takes on the disk."""
    obstacle: str = ""
    """Why it is left alone; "" if it is copied."""
    partial: int = 0
    """Bytes of a copy that was cut off, which is removed first."""


class Importer:
    """Finds and copies homes.

    Args:
        client: of the engine.
        settings: of this Hub.
        homes: the pattern of the other Hub's homes (`Scheme.homes`).
        database: its database (`Scheme.database`).
        name_of: how a home is called there, from the pattern and the names of user and server.
        renamed: names there, and here.
    """

    def __init__(
        self,
        client: DockerClient,
        settings: Settings,
        homes: str,
        database: str,
        name_of: Callable[[str, str, str], str],
        renamed: Mapping[str, str],
    ) -> None:
        self._client, self._settings = client, settings
        self._project = settings.jupyterhub_name
        self._pattern, self._database = homes, database
        self._name_of, self._renamed = name_of, renamed
        self._volumes = {each.name for each in client.volumes.list()}

    def people(self) -> list[Person]:
        """Return the users of the other Hub, by name.

        Raises:
            HomesError: its database cannot be read.
        """
        if place := _PLACE.fullmatch(self._database):
            mounts, file = {self._volume(place["volume"]): "/from:ro"}, place["file"]
        else:
            # The machine's own root, since the engine would make a folder that does not exist.
            mounts, file = _MACHINE, self._database
        try:
            read = f"exec python3 -c '{_READ_DATABASE}' {_quoted(file.lstrip('/'))}"
            found = json.loads(self._run(read, "", mounts, *_READING))
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
        found: list[Home] = []
        for person in people:
            # With one home for all servers, once.
            servers = person.servers if "{servername}" in self._pattern else ("",)
            found += [home for server in servers if (home := self._home(person.name, server))]
        return [self._first_of_its_target(each, found) for each in found]

    @staticmethod
    def _first_of_its_target(home: Home, homes: list[Home]) -> Home:
        same = [each for each in homes if not each.obstacle and home.target == each.target]
        if home.obstacle or len(same) < 2 or (home is same[0] and len({each.owner for each in same}) == 1):
            return home
        others = ", ".join(each.source for each in same if each is not home)
        return replace(home, obstacle=f"{home.target} would be the home of this one and of {others}")

    def _home(self, user: str, server: str) -> Home | None:
        if set(user) <= {"."} or set("/:") & set(user + server):
            return Home(user, user, server, "?", "", 0, "this name is not possible here")
        source = self._name_of(self._pattern, user, server)
        if not source.startswith("/") and source not in self._volumes:
            return None
        if (size := self._size(source)) is None:
            return None
        name = self._renamed.get(user, user).lower()
        its = _slug(server) if server else ""
        target = naming.home_name(self._project, name, its, shared=self._settings.hub_named_servers_share_home)
        obstacle, partial = self._obstacle(source, target, name), 0
        if not obstacle and target in self._volumes:
            partial = self._measure(f"/from/{UNFINISHED}", {target: "/from:ro"}) or 0
        return Home(user, name, its, source, target, size, obstacle, partial)

    def _size(self, source: str) -> int | None:
        """Return the size of a home; None if there is none."""
        if source.startswith("/"):
            return self._measure(f"/from{source}", _MACHINE)
        return self._measure("/from", {source: "/from:ro"})

    def _measure(self, path: str, mounts: dict[str, str]) -> int | None:
        answer = self._run(_SIZE, path, mounts, *_READING).strip()
        try:
            return int(answer) if answer else None
        except ValueError:
            raise HomesError(f"The size of {path} cannot be told: {answer.splitlines()[-1]}") from None

    def _obstacle(self, source: str, target: str, user: str) -> str:
        if is_account(user):
            return "this is the name of a workspace here"
        if source == target:
            return f"the volume has the name of the home here: set hub_volume_name_template to {self._pattern!r}"
        try:
            found = self._client.volumes.get(target).attrs["Labels"]
        except NotFound:
            return ""
        if not carries(found, {PROJECT: self._project, KIND: OF_HOMES, USER: user}):
            return f"the volume {target} exists, and is not a home of this Hub"
        if users := self._client.containers.list(all=True, filters={"volume": target}):
            return f"there is a home already, which the container {users[0].name} uses"
        # Its server may have been started before, and then stopped.
        is_complete = self._run(_LOOK, "/to", {target: "/to:ro"}, *_READING).strip() == "complete"
        return "there is a home already, with files in it" if is_complete else ""

    def copy(self, home: Home) -> None:
        """Copy a home; if it fails, or is killed, it is copied again the next time.

        Raises:
            HomesError: it failed, or a home was made here since.
        """
        if why := self._obstacle(home.source, home.target, home.user):
            raise HomesError(why)
        server = "" if self._settings.hub_named_servers_share_home else home.server
        self._client.volumes.create(home.target, labels=labels(self._project, OF_HOMES, home.user, server))
        self._run(_COPY, str(SERVER_UID), {home.source: "/from:ro", home.target: "/to"}, *_WRITING)

    def _run(self, script: str, argument: str, volumes: dict[str, str], *capabilities: str) -> str:
        return run_as_root(self._client, self._project, script, argument, volumes, *capabilities)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _slug(server: str) -> str:
    """Return the name that a server can have here, as the home page makes it: older Hubs had servers with any name."""
    if is_valid_safe_slug(server):
        return server
    plain = re.sub(r"[^a-z0-9]+", "-", server.lower()).strip("-")
    return plain if is_valid_safe_slug(plain) else str(safe_slug(server))


def of_tljh(pattern: str, user: str, server: str) -> str:
    """Return the folder of a user, as TLJH shortens names (tljh/normalize.py)."""
    folder, _, name = pattern.rpartition("/")
    system = name.replace("{username}", user)
    if len(system) >= 26:
        system = f"{system[:26]}-{hashlib.sha256(system.encode()).hexdigest()[:5]}"
    return f"{folder}/{system}"


def of_dockerspawner(pattern: str, user: str, server: str) -> str:
    """Return the volume or folder of a server, as DockerSpawner escapes names since its version 12."""
    escape = DockerSpawner._escape
    return pattern.format(username=escape(user), servername=escape(server.lower()))


def of_old_dockerspawner(pattern: str, user: str, server: str) -> str:
    """Return it as DockerSpawner did before, and does with `escape = "legacy"`."""
    escape = DockerSpawner._legacy_escape
    return pattern.format(username=escape(user), servername=escape(server.lower()))


def _check(settings: Settings, homes: str, database: str, scheme: str) -> None:
    if settings.hub_volume_name_template:
        raise HomesError("hub_volume_name_template is set: this Hub uses another Hub's volumes where they are")
    folder, _, name = homes.rpartition("/")
    if "{username}" not in name or "{" in folder:
        raise HomesError(f"--homes {homes}: has no {{username}} in its last part, or a placeholder before it")
    known = {"username"} if scheme == "tljh" else {"username", "servername"}
    if unknown := set(re.findall(r"\{(\w*)\}", name)) - known:
        raise HomesError(f"--homes {homes}: {{{min(unknown)}}} is not known here: use {' and '.join(sorted(known))}")
    if (scheme == "tljh") > homes.startswith("/"):
        raise HomesError(f"--homes {homes}: the homes of The Littlest JupyterHub are folders: give a path")
    if not database.startswith("/") and not _PLACE.fullmatch(database):
        raise HomesError(f"--database {database}: is neither a path that begins with / nor VOLUME:FILE")


def _renamed(given: Iterable[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := [there for there, sign, here in pairs if not (there and sign and here)]:
        raise HomesError(f"--rename {wrong[0]}: write the name there and here, as ada=ada-lovelace")
    return {there: here for there, _, here in pairs}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _show(homes: list[Home], people: list[Person], settings: Settings) -> None:
    for each in homes:
        owner = f"{each.owner}/{each.server}" if each.server else each.owner
        what = f"left alone: {each.obstacle}" if each.obstacle else f"to {each.target}"
        print(f"{owner}: {each.source} ({_megabytes(each.size)}) {what}")
    owners = {each.owner for each in homes}
    if without := [each.name for each in people if each.name not in owners]:
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
    parser.add_argument("--old-names", action="store_true", help="as DockerSpawner before 12 escapes names")
    parser.add_argument("--rename", action="append", default=[], metavar="THERE=HERE", help="another name here")
    parser.add_argument("--copy", action="store_true", help="copy; without it, only show")
    given = parser.parse_args()
    scheme = SCHEMES[given.scheme]
    try:
        settings = load().settings
        homes, database = given.homes or scheme.homes, given.database or scheme.database
        _check(settings, homes, database, given.scheme)
        name_of = of_old_dockerspawner if given.old_names else of_dockerspawner
        if given.scheme == "tljh":
            name_of = of_tljh
        renamed = _renamed(given.rename)
        importer = Importer(docker.DockerClient(), settings, homes, database, name_of, renamed)
        people = importer.people()
        found = importer.homes(people)
        _show(found, people, settings)
        copied = [each for each in found if not each.obstacle]
        needed, disk = sum(max(0, each.size - each.partial) for each in copied), disk_admission.look()
        room = disk.free - settings.hub_reserve_disk_mb * 1024**2
        print(f"{len(copied)} of {len(found)} homes, {_megabytes(needed)}; {_megabytes(max(0, room))} are free.")
        if needed > room:
            return "There is not enough room for them (hub_reserve_disk_mb stays free). Nothing was copied."
        if not given.copy:
            print("Nothing was copied: that is done with --copy.")
            return None
        failed = 0
        for number, each in enumerate(copied, 1):
            print(f"{number} of {len(copied)}: {each.source}", flush=True)
            try:
                importer.copy(each)
            except (HomesError, APIError) as error:
                failed += 1
                print(f"  failed: {error}", flush=True)
        if failed:
            return f"{failed} of {len(copied)} homes were not copied: run this again when that is mended."
        print("Done. The other Hub's homes stay as they are.")
    except (SettingsError, HomesError) as error:
        return str(error)
    except APIError as error:
        return f"Docker: {error.explanation or error}"
    return None
