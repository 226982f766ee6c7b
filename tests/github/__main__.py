"""`python -m github`: the stand-in as a process, controlled through `/_control/` with GITHUB_CONTROL_TOKEN."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from pathlib import Path

from github.server import listen
from github.state import GitHub


async def serve(arguments: argparse.Namespace, control_token: str) -> None:
    """Print the URL once it answers, and serve until the process is ended."""
    _, url = await listen(GitHub(), arguments.address, arguments.port, control_token, arguments.https)
    print(url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Parse the arguments, and serve."""
    parser = argparse.ArgumentParser(prog="python -m github", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--https", nargs=2, type=Path, metavar=("CERTIFICATE", "KEY"))
    arguments = parser.parse_args()
    control_token = os.environ.get("GITHUB_CONTROL_TOKEN", "")
    if not control_token:
        parser.error("GITHUB_CONTROL_TOKEN is not set")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments, control_token))


if __name__ == "__main__":
    main()
