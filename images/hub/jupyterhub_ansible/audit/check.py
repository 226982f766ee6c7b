"""Check the trail: was a line removed, added, moved or edited?

    docker exec jupyterhub-audit python -m jupyterhub_ansible audit check
    docker logs jupyterhub-audit 2>&1 |
      docker exec --interactive jupyterhub-audit python -m jupyterhub_ansible audit check --log

The end of the trail is compared with what the recorder remembers; with --log, also with the hashes that its log has.
"""

import argparse
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from . import chain

_NOTED = re.compile(r"trail: line (\d+) ([0-9a-f]{64})")


def noted(log: Iterable[str]) -> dict[int, str]:
    """Return the hashes in the recorder's log, by number."""
    found = (_NOTED.search(line) for line in log)
    return {int(match[1]): match[2] for match in found if match and int(match[1])}


def remembered(path: Path) -> dict[int, str]:
    """Return the position that the recorder remembers; nothing if it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            client.sendall(b"status\n")
            number, _, line_hash = client.makefile().readline().strip().partition(" ")
    except OSError as error:
        print(f"The recorder does not answer ({error}): lines missing at the end may not show.", file=sys.stderr)
        return {}
    return {int(number): line_hash} if int(number) else {}


def main() -> int:
    """Print what was found, and return 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible audit", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="was a line of the trail removed, added, moved or edited?")
    command.add_argument("--log", action="store_true", help="compare with the hashes in the recorder's log, on stdin")
    arguments = parser.parse_args()
    anchors = (noted(sys.stdin) if arguments.log else {}) | remembered(chain.SOCKET)
    verdict = chain.verified(chain.FOLDER, anchors)
    for problem in verdict.problems:
        print(problem)
    if verdict.problems:
        return 1
    if verdict.first:
        print(f"Lines {verdict.first} to {verdict.last.number} are as they were written.")
        print(f"The last one, to be kept elsewhere: line {verdict.last.number} {verdict.last.hash}")
    else:
        print("The trail has no lines yet.")
    return 0
