"""The commands of the container; roles/backup/files/backup runs it with the right mounts."""

from __future__ import annotations

import argparse
import os
import sys

from . import restore, state
from .places import Places
from .restic import Restic, StoreError
from .save import save


def parsed() -> argparse.Namespace:
    """Return the command and its options."""
    parser = argparse.ArgumentParser(prog="jupyterhub_backup", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("save", help="make one backup")
    commands.add_parser("list", help="list the backups")
    verify = commands.add_parser("verify", help="read data back, and find what is damaged")
    verify.add_argument("part", nargs="?", default="100%", help="how much of the data, such as 5%%")
    volumes = commands.add_parser("volumes", help="print the snapshot's id, and volumes with their labels")
    for command in (volumes, commands.add_parser("home", help="restore a home"), commands.add_parser("hub")):
        command.add_argument("--snapshot", default="latest")
        command.add_argument("--user", default="")
        command.add_argument("--server", default="")
        command.add_argument("--path", default="")
        command.add_argument("--in-place", action="store_true")
        command.add_argument("--dry-run", action="store_true")
    every = commands.add_parser("all", help="restore all volumes and the Hub")
    every.add_argument("--snapshot", default="latest")
    return parser.parse_args()


def run(places: Places, given: argparse.Namespace) -> int:
    """Run a command, and return the exit code.

    Raises:
        StoreError: it failed.
    """
    if given.command == "save":
        result = save(places)
        print(state.told(result))
        codes = {"complete": state.COMPLETE, "incomplete": state.INCOMPLETE}
        return codes.get(result["result"], state.FAILED)
    if given.command == "list":
        print(restore.listed(places))
        return 0
    if given.command == "verify":
        restic = Restic(places, places.plan()["repository"])
        restic.open()
        restic.verify(given.part)
        print(f"The repository is intact ({given.part} of the data was read).")
        return 0
    snapshot = restore.Snapshot(places, given.snapshot)
    if given.command == "volumes":
        wanted = [snapshot.home(given.user, given.server)] if given.user else sorted(snapshot.labels())
        print(snapshot.id)
        for volume in wanted:
            labels = snapshot.labels()[volume]
            print("\t".join([volume, *(f"{key}={value}" for key, value in sorted(labels.items()))]))
    elif given.command == "home":
        volume = snapshot.home(given.user, given.server)
        path = restore.inside(given.path)
        print(restore.home(places, snapshot, volume, path, in_place=given.in_place, dry=given.dry_run))
    elif given.command == "hub":
        print(restore.hub(places, snapshot))
    else:
        for line in restore.everything(places, snapshot):
            print(line)
    return 0


def main() -> int:
    """Run the command that is given."""
    os.umask(0o077)
    try:
        return run(Places(), parsed())
    except StoreError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename or 'the machine'}: {error.strerror or error}"
    print(f"Backup: {state.printable(problem)}", file=sys.stderr)
    return state.FAILED


if __name__ == "__main__":
    sys.exit(main())
