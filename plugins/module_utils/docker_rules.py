"""Which of iptables' rules are an engine's.  Also used by tests/fresh_machine.py."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise

BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
# The only rules of Docker's without its own chain or bridge: for a container that contacts itself through the host.
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+/32) -d \1 .*-j MASQUERADE")


def without_docker(saved: str, bridges: Collection[str] = ()) -> str:
    """Return the output of `iptables-save` without the chains and rules of an engine and of these bridges."""
    lines = saved.splitlines()
    kept = [line for line in lines if not of_docker(line, bridges)]
    if len(kept) == len(lines):
        return saved
    text = "\n".join(kept) + "\n"
    # The engine sets this policy; if there are other rules, somebody else may have set it.
    return text if "\n-A FORWARD " in text else text.replace(":FORWARD DROP", ":FORWARD ACCEPT")


def of_docker(line: str, bridges: Collection[str]) -> bool:
    """Return whether a line of `iptables-save` belongs to an engine."""
    words = line.split()
    interfaces = [name for option, name in pairwise(words) if option in ("-i", "-o")]
    return (
        line.startswith(":DOCKER")
        or (line.startswith("-A") and any(word.startswith("DOCKER") for word in words))
        or any(BRIDGE.fullmatch(name) or name in bridges for name in interfaces)
        or HAIRPIN.match(line) is not None
    )
