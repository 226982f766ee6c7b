"""What of a request is stored and logged."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from jupyterhub import apihandlers, handlers
from jupyterhub.auth import NullAuthenticator
from jupyterhub.handlers.base import BaseHandler, CSPReportHandler
from jupyterhub.handlers.login import LoginHandler
from jupyterhub.handlers.pages import AcceptShareHandler, SpawnHandler
from jupyterhub_ansible.app import JupyterHub
from jupyterhub_ansible.web import request_limits
from tornado.web import HTTPError

STORING = ["/api/users/alice/tokens", "/api/users/alice/server", "/api/users/alice/servers/one"]
STORING += ["/api/shares/alice/one", "/api/share-codes/alice/one"]


@pytest.fixture
def rules() -> list[tuple[Any, ...]]:
    """The handlers of a Hub of ours."""
    hub = JupyterHub()
    hub.authenticator = NullAuthenticator()
    hub.init_handlers()
    return hub.handlers


def of(rules: list[tuple[Any, ...]], path: str) -> Any:
    """A handler that was asked for this path."""
    [handler, *_] = [rule[1] for rule in rules if re.fullmatch(rule[0], "/hub" + path)]
    asked = handler.__new__(handler)
    asked.request = Mock()
    return asked


@pytest.mark.parametrize("path", STORING)
def test_stored_data_are_small(rules: list[tuple[Any, ...]], path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = AsyncMock()
    monkeypatch.setattr(BaseHandler, "prepare", prepare)
    asked = of(rules, path)
    asked.request.body = b"x" * 2_000_000
    with pytest.raises(HTTPError, match="2000000 bytes; the maximum is 8192") as refused:
        asyncio.run(asked.prepare())
    assert refused.value.status_code == 400
    prepare.assert_not_awaited()
    asked.request.body = b"x" * request_limits.STORED
    asyncio.run(asked.prepare())
    prepare.assert_awaited_once_with()


def test_reports_are_counted_and_rarely_logged(
    rules: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = of(rules, "/security/csp-report")
    monkeypatch.setattr(type(asked), "logged", -float("inf"))
    monkeypatch.setattr(type(asked), "log", logging.getLogger("hub"))
    monkeypatch.setattr(type(asked), "current_user", "alice")
    count = Mock()
    monkeypatch.setattr(request_limits, "CSP_REPORT_COUNT", count)
    asked.request.body = b"\x1b[2J" + b"x" * 2_000_000
    for _ in range(5):
        asked.post()
    assert count.inc.call_count == 5
    [record] = caplog.records
    assert record.getMessage().startswith("Content security violation: \\x1b[2Jxx")
    assert len(record.getMessage()) < 600


def test_other_handlers_are_unchanged(rules: list[tuple[Any, ...]]) -> None:
    stock = {handler for _, handler, *_ in [*handlers.default_handlers, *apihandlers.default_handlers]}
    ours = {handler for _, handler, *_ in rules}
    changed = (*request_limits._STORING, CSPReportHandler, LoginHandler, SpawnHandler, AcceptShareHandler)
    assert stock - ours == {handler for handler in stock if issubclass(handler, changed)}
