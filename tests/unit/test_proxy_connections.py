"""What the proxy logs about refused connections, tested in the Node that comes with Playwright."""

from __future__ import annotations

import subprocess
from pathlib import Path

import playwright
from project import IMAGES

NODE = Path(playwright.__file__).parent / "driver/node"
TRY = """
import { Connections } from "%s";
const connections = new Connections({ isUntrusted: (socket) => socket.untrusted, isTrusted: () => false });
let ended = 0, now = 1e12;
Date.now = () => now;
const come = (untrusted) => {
  const socket = { untrusted, remoteAddress: "10.0.0.9", once() {}, destroy: () => ended++ };
  connections.add(socket);
  // In use, as by a websocket.
  connections.keep(socket);
};
const rush = (untrusted, times) => { for (; times; times--) come(untrusted); console.error(`ended: ${ended}`); };
rush(true, 256);
rush(true, 10);
rush(false, 6000 - 256);
rush(false, 10);
now += 60_000;
rush(false, 10);
"""


def test_refused_connections_are_logged_once_a_minute() -> None:
    module = IMAGES / "proxy/headers/connections.mjs"
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", TRY % module.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    away = "A connection from 10.0.0.9 was turned away: "
    full = f"{away}6000 are open, and all in use; said once a minute"
    assert done.stderr.splitlines() == [
        "ended: 0",
        f"{away}256 of one user's server are open; said once a minute",
        "ended: 10",
        "ended: 10",
        full,
        "ended: 20",
        full,
        "ended: 30",
    ]
