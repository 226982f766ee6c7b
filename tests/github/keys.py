"""Keys of what the application and its requests carry."""

from __future__ import annotations

from aiohttp import web

from github.state import GitHub

GITHUB = web.AppKey("GITHUB", GitHub)
LOGIN = web.RequestKey("LOGIN", str)
"""The login of the token's owner."""
CONTROL_TOKEN = web.AppKey("CONTROL_TOKEN", str)
