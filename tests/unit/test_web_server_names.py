"""A refused name of a server is explained, and names that JupyterHub takes are not refused."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from jupyterhub.auth import NullAuthenticator
from jupyterhub.handlers.base import BaseHandler
from jupyterhub_ansible.app import JupyterHub
from jupyterhub_ansible.web.errors import PageError
from jupyterhub_ansible.web.server_names import problem


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("My Server", "my-server"),
        ("MyServer", "myserver"),
        ("2024", "x-2024"),
        ("a--b", "a-b"),
        ("Äpfel & 100 %", "apfel-100"),
        ("x" * 31, "x" * 30),
    ],
)
def test_a_better_name(name: str, better: str) -> None:
    assert problem(name).endswith(f"begins with a letter. Try '{better}'.")
    assert problem(better) == ""


@pytest.mark.parametrize("path", ["/api/users/alice/servers/x", "/spawn/alice/x"])
def test_where_servers_are_made(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = JupyterHub()
    hub.authenticator = NullAuthenticator()
    hub.init_handlers()
    upstream = AsyncMock()
    monkeypatch.setattr(BaseHandler, "_check_named_server_request", upstream)
    handler = next(rule[1] for rule in hub.handlers if re.fullmatch(rule[0], f"/hub{path}"))
    asked: Any = handler.__new__(handler)
    # An older Hub's server keeps its name.
    user = SimpleNamespace(orm_spawners={"Old One": object()})
    asyncio.run(asked._check_named_server_request(user, "Old One", "Old One", check_limit=False))
    asyncio.run(asked._check_named_server_request(user, "new-one", "New One"))
    assert upstream.await_count == 2
    with pytest.raises(PageError) as refused:
        asyncio.run(asked._check_named_server_request(user, "100 %d", "100 %d"))
    assert refused.value.status_code == 400
    # JupyterHub shows it on the page and in the API's answer.
    assert "Try 'x-100-d'" in refused.value.jupyterhub_message
    assert upstream.await_count == 2
