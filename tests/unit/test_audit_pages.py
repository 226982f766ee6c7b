"""Who may read the trail on the Hub's page, and what the page gets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.scopes import Scope
from jupyterhub_ansible.audit import chain, events, pages
from jupyterhub_ansible.web.errors import PageError


def ask(folder: Path, scopes: Any, **arguments: str) -> dict[str, Any]:
    """Return what the template of the page gets."""
    shown: dict[str, Any] = {}

    async def render_template(name: str, **variables: Any) -> str:
        assert name == "audit.html"
        shown.update(variables)
        return "page"

    handler = SimpleNamespace(
        current_user=SimpleNamespace(name="vera"),
        parsed_scopes=scopes,
        folder=folder,
        get_argument=arguments.get,
        render_template=render_template,
        finish=lambda page: None,
    )
    get: Any = pages.AuditHandler.get
    asyncio.run(get(handler))
    return shown


@pytest.mark.parametrize(
    "scopes", [{}, {"admin-ui": Scope.ALL}, {"admin:users": {"user": {"ann"}}, "admin-ui": Scope.ALL}]
)
def test_not_those_who_administer_some_users_only(tmp_path: Path, scopes: Any) -> None:
    with pytest.raises(PageError) as refused:
        ask(tmp_path, scopes)
    assert refused.value.status_code == 403
    assert refused.value.jupyterhub_message == "Only administrators may read the audit trail."


def test_administrators_read_and_search(tmp_path: Path) -> None:
    position, text = chain.Position(), b""
    for number in range(60):
        made = events.event("login", actor="ann" if number % 2 else "bob", n=number)
        line, position = chain.linked(position, events.now(), made)
        text += line + b"\n"
    chain.file_of(tmp_path, 1).write_bytes(text)
    everybody = {"admin:users": Scope.ALL}
    first = ask(tmp_path, everybody, person="", event="", text="", at="")
    assert [each["details"]["n"] for each in first["events"]] == list(range(59, 9, -1))
    assert first["is_first"]
    rest = ask(tmp_path, everybody, person="", event="", text="", at=str(first["older"]))
    assert [each["details"]["n"] for each in rest["events"]] == list(range(9, -1, -1))
    assert (rest["older"], rest["is_first"]) == (None, False)
    hers = ask(tmp_path, everybody, person="ann", event="login", text="", at="nonsense")
    assert {each["actor"] for each in hers["events"]} == {"ann"}
    assert hers["asked"] == {"person": "ann", "event": "login", "text": ""}
    assert ask(tmp_path / "nowhere", everybody, person="", event="", text="", at="")["events"] == []
