"""Merging into daemon.json: others' keys stay, ours win, a null removes."""

from __future__ import annotations

from typing import Any

import pytest

from roles.docker.library.daemon_settings import conceal, merge, prune


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"debug": True}, {"live-restore": True}, {"debug": True, "live-restore": True}),
        (
            {"log-opts": {"tag": "x", "max-size": "1m"}},
            {"log-opts": {"max-size": "9m"}},
            {"log-opts": {"tag": "x", "max-size": "9m"}},
        ),
        ({"dns": ["192.0.2.1"]}, {"dns": ["192.0.2.2"]}, {"dns": ["192.0.2.2"]}),
        ({"debug": True}, {"debug": None}, {}),
        ({}, {"debug": None}, {}),
        ({"log-opts": {"max-size": "1m"}}, {"log-opts": {"max-size": None}}, {}),
        ({"log-opts": "nonsense"}, {"log-opts": {"max-size": "1m"}}, {"log-opts": {"max-size": "1m"}}),
    ],
)
def test_merge(old: dict[str, Any], patch: dict[str, Any], new: dict[str, Any]) -> None:
    assert prune(merge(old, patch)) == new


def test_merge_changes_neither_input() -> None:
    old, patch = {"log-opts": {"tag": "x"}}, {"log-opts": {"max-size": "1m"}}
    merge(old, patch)
    assert old == {"log-opts": {"tag": "x"}}
    assert patch == {"log-opts": {"max-size": "1m"}}


def test_credentials_are_not_shown() -> None:
    assert (
        conceal('"http-proxy": "http://user:pass@proxy.example:3128"')
        == '"http-proxy": "http://***@proxy.example:3128"'
    )
    assert conceal('"hosts": ["unix:///run/docker.sock"]') == '"hosts": ["unix:///run/docker.sock"]'
