"""Which of iptables' rules are an engine's.  Also used by tests/fresh_machine.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from itertools import pairwise

PROGRAMS = ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy")
BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
CHAIN = re.compile(r"DOCKER(-[A-Z0-9-]+)?")
# The only rules of Docker's without its own chain or bridge: for a container that contacts itself through the host.
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+/32) -d \1 .*-j MASQUERADE")
# The table with the filter, which ends with a line COMMIT.
FILTER = re.compile(r"^\*filter\n.*?^COMMIT$", re.MULTILINE | re.DOTALL)
POLICY = re.compile(r"^:FORWARD (\w+)", re.MULTILINE)
# The rule that Docker itself writes into the chain that is for the operator's.
OF_THE_OPERATOR, OWN_RULE = "-A DOCKER-USER ", "-A DOCKER-USER -j RETURN"

Said = Callable[..., str]
"""Returns a command's output, "" if it fails or does not exist."""


def policies(said: Said) -> dict[str, str]:
    """Return what the firewall does with packets that no rule of it decides on their way through this machine.

    Without a table of iptables, that is to let them pass.  Tables of its names may also be there without the program.
    """
    found = {program: policy_of(said(f"{program}-save")) for program in PROGRAMS}
    for program, family in (("iptables", "ip"), ("ip6tables", "ip6")):
        if "policy drop;" in said("nft", "list", "chain", family, "filter", "FORWARD"):
            found[program] = "DROP"
    return {f"{program} FORWARD": policy for program, policy in found.items()}


def policy_of(saved: str) -> str:
    """Return the policy for forwarded packets in the output of `iptables-save`."""
    table = FILTER.search(saved)
    policy = POLICY.search(table[0]) if table else None
    return policy[1] if policy else "ACCEPT"


def rules_of_the_operator(said: Said) -> list[str]:
    """Return the rules that others put into Docker's chain for that, and which go with the engine."""
    found: dict[str, None] = {}
    for program in PROGRAMS:
        for line in said(f"{program}-save").splitlines():
            if line.startswith(OF_THE_OPERATOR) and line != OWN_RULE:
                # Both programs may list the same rules.
                found[f"{program.removesuffix('-legacy')} {line}"] = None
    return [*found]


def without_docker(saved: str, bridges: Collection[str] = (), policy: str = "ACCEPT") -> str:
    """Return the output of `iptables-save` without the chains and rules of an engine and of these bridges.

    Args:
        saved: the output.
        bridges: further bridges besides Docker's own.
        policy: that for forwarded packets before there was an engine, "" if unknown.
    """
    lines = saved.splitlines()
    kept = [line for line in lines if not of_docker(line, bridges)]
    if len(kept) == len(lines):
        return saved
    text = "\n".join(kept) + "\n"
    table = FILTER.search(text)
    # The engine sets this policy; if there are other rules, somebody else may have set it.
    if policy != "ACCEPT" or not table or "\n-A FORWARD " in table[0]:
        return text
    return text.replace(table[0], table[0].replace(":FORWARD DROP", ":FORWARD ACCEPT"))


def of_docker(line: str, bridges: Collection[str]) -> bool:
    """Return whether a line of `iptables-save` belongs to an engine."""
    if line.startswith(":"):
        return CHAIN.fullmatch(line.split()[0][1:]) is not None
    if not line.startswith("-A"):
        return False
    # A comment in quotes is one word, whatever it says.
    options = pairwise(shlex.split(line))
    return HAIRPIN.match(line) is not None or any(names_docker(*each, bridges) for each in options)


def names_docker(option: str, value: str, bridges: Collection[str]) -> bool:
    """Return whether an option of a rule names a chain or a bridge of an engine."""
    if option in ("-A", "-j", "-g"):
        return CHAIN.fullmatch(value) is not None
    return option in ("-i", "-o") and (BRIDGE.fullmatch(value) is not None or value in bridges)
