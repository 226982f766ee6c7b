"""Which rules of iptables go with an engine, and which policy is set again."""

from __future__ import annotations

import pytest

from plugins.module_utils.docker_rules import of_docker, policies, without_docker
from plugins.modules.docker_rules import changed_tables

SAVED = """\
*mangle
:FORWARD DROP [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD {} [0:0]
:DOCKER - [0:0]
{}-A FORWARD -o docker0 -j DOCKER
COMMIT
"""
OF_OTHERS = "-A FORWARD -i wg0 -j ACCEPT\n"


@pytest.mark.parametrize(
    ("line", "is_docker_s"),
    [
        (":DOCKER-ISOLATION-STAGE-1 - [0:0]", True),
        (":DOCKERS - [0:0]", False),
        ("-A DOCKER-USER -j RETURN", True),
        ("-A FORWARD -j DOCKER-FORWARD", True),
        ("-A PREROUTING -m addrtype --dst-type LOCAL -g DOCKER", True),
        ("-A FORWARD ! -i docker0 -o docker0 -j ACCEPT", True),
        ("-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -j MASQUERADE", True),
        ('-A INPUT -m comment --comment "DOCKER registry" -j ACCEPT', False),
        ('-A INPUT -m comment --comment "instead of -j DOCKER here" -j ACCEPT', False),
        ("-A INPUT -m comment --comment DOCKER -j DROP", False),
        ("-A INPUT -m set --match-set DOCKER_HOSTS src -j ACCEPT", False),
        ("-A FORWARD -j DOCKERS", False),
        ("COMMIT", False),
    ],
)
def test_rules_are_an_engine_s_by_chain_and_bridge(line: str, is_docker_s: bool) -> None:
    assert of_docker(line, ()) == is_docker_s


@pytest.mark.parametrize(
    ("before", "others", "after"),
    [("ACCEPT", "", "ACCEPT"), ("DROP", "", "DROP"), ("", "", "DROP"), ("ACCEPT", OF_OTHERS, "DROP")],
)
def test_the_policy_is_that_from_before(before: str, others: str, after: str) -> None:
    """Of the table with the filter only; if that is unknown, the firewall stays closed."""
    kept = without_docker(SAVED.format("DROP", others), policy=before)
    assert kept.splitlines()[:2] == ["*mangle", ":FORWARD DROP [0:0]"]
    assert f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD {after} [0:0]\n" in kept
    assert ("wg0" in kept) == bool(others)
    assert "DOCKER" not in kept


def test_policies_before_there_was_an_engine() -> None:
    bare = dict.fromkeys(
        (f"{each} FORWARD" for each in ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy")), "ACCEPT"
    )
    assert policies(lambda *_: "") == bare
    saved = {"iptables-legacy-save": SAVED.format("DROP", ""), "ip6tables-save": SAVED.format("ACCEPT", "")}
    assert policies(lambda *words: saved.get(words[0], "")) == {**bare, "iptables-legacy FORWARD": "DROP"}
    # Tables that nft made, on a machine without iptables.
    chain = (
        "table ip6 filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n"
    )
    found = policies(lambda *words: chain if words == ("nft", "list", "chain", "ip6", "filter", "FORWARD") else "")
    assert found == {**bare, "ip6tables FORWARD": "DROP"}


@pytest.mark.parametrize("before", ["ACCEPT", "DROP"])
def test_each_program_s_tables_get_the_policy_that_was_recorded_for_it(before: str) -> None:
    """By a function: the module itself finds the programs in /usr/sbin, and would change this machine's firewall."""
    saved = {"iptables-save": SAVED.format("DROP", ""), "ip6tables-save": OF_OTHERS}
    changes = changed_tables(lambda *words: saved.get(words[0], ""), {"iptables FORWARD": before})
    assert changes.keys() == {("iptables-restore",)}
    assert f":FORWARD {before} [0:0]\n" in changes["iptables-restore",].partition("*filter")[2]
