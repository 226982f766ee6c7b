"""Where a request finds what it is about."""

from __future__ import annotations

from aiohttp import web

from github.state import GitHub

GITHUB = web.AppKey("GITHUB", GitHub)
LOGIN = web.RequestKey("LOGIN", str)
"""Of a token's owner."""
CONTROL_TOKEN = web.AppKey("CONTROL_TOKEN", str)
