"""What an event has in it, and what it never has."""

from __future__ import annotations

import json
import re

import pytest
from jupyterhub_ansible.audit import context, events

SECRET = "Zq3kR8vT1xW5yB7nM2cD4fG6"


def test_fields() -> None:
    with context.because("the culler", address="192.0.2.1"):
        made = events.event("server stopped", target="ann/", idle=True, nothing=None, empty="")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made.pop("time"))
    assert re.fullmatch(r"[0-9a-f]{16}", made.pop("id"))
    assert made == {
        "event": "server stopped",
        "actor": "hub",
        "target": "ann/",
        "address": "192.0.2.1",
        "result": "ok",
        "details": {"by": "the culler", "idle": True},
    }


@pytest.mark.parametrize(
    "text",
    [
        f"GET /hub/accept-share?code={SECRET}&next=/user/ann/",
        f"https://hub.example.org/hub/break-glass?key={SECRET}",
        f"/hub/oauth_callback?state={SECRET}",
        f"access_token={SECRET}",
        f'{{"token": "{SECRET}", "note": "x"}}',
        f"Cookie: {SECRET}",
        f"password: {SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_blanked(text: str) -> None:
    made = events.event("login refused", actor="", target=text, why=text, several=[text])
    assert SECRET not in json.dumps(made)


def test_words_are_kept() -> None:
    why = "The GitHub account ann is not a member of the organization acme, so it may not log in here."
    assert events.event("login refused", why=why)["details"]["why"] == why
    assert events.cleaned("a token made for CI") == "a token made for CI"


def test_a_user_cannot_forge_lines_or_fill_the_trail() -> None:
    made = events.event("token made", note='x\n{"event":"login"}\x1b[2J' + "y" * 10_000)
    assert "\n" not in made["details"]["note"]
    assert "\x1b" not in made["details"]["note"]
    assert len(json.dumps(made)) < 1000
    assert len(events.cleaned(["s"] * 1000)) == 20
