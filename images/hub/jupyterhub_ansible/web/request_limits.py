"""Limits on request data that JupyterHub stores or logs as is: token notes, server options and names, CSP reports."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from jupyterhub.apihandlers import shares, users
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import CSPReportHandler
from jupyterhub.metrics import CSP_REPORT_COUNT
from tornado.web import HTTPError, authenticated

from .. import clean

STORED = 8 * 1024
"""Bytes of a body that is stored: enough for hundreds of scopes."""
REPORTS_S = 60
"""At most one report in so many seconds is logged."""

_STORING = (
    users.UserTokenListAPIHandler,
    users.UserServerAPIHandler,
    shares.ServerShareAPIHandler,
    shares.ServerShareCodeAPIHandler,
)


class _Bounded(APIHandler):
    async def prepare(self) -> None:
        """Refuse a body that is too large, before it is used."""
        size = len(self.request.body)
        if size > STORED:
            raise HTTPError(
                HTTPStatus.BAD_REQUEST,
                f"That is too much to store: {size} bytes; the maximum is {STORED}. Shorten the token's note and"
                " scopes, or the server's options and name.",
            )
        await super().prepare()


class CSPReports(CSPReportHandler):
    """Reports of browsers, into which any logged-in user can write anything."""

    logged = -float("inf")

    @authenticated
    def post(self) -> None:
        """Count a report, and occasionally log the beginning of one."""
        CSP_REPORT_COUNT.inc()
        if time.monotonic() - CSPReports.logged >= REPORTS_S:
            CSPReports.logged = time.monotonic()
            report = self.request.body.decode(errors="replace")
            self.log.warning("Content security violation: %s", clean.one_line(report, 500))


def bounded(rules: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the Hub's rules (pattern, handler, arguments), with limits on those that store or log request data."""

    def ours(handler: type) -> type:
        if issubclass(handler, _STORING):
            return type(handler.__name__, (_Bounded, handler), {})
        return CSPReports if issubclass(handler, CSPReportHandler) else handler

    return [(pattern, ours(handler), *rest) for pattern, handler, *rest in rules]
