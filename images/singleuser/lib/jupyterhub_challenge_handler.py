"""The handler for the Hub's challenge (jupyterhub_challenge)."""
# Jupyter's server has no types.
# mypy: allow-subclassing-any, disable-error-code="misc, untyped-decorator"

import jupyterhub_challenge
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web


class ChallengeHandler(JupyterHandler):
    """Answers the Hub's direct requests, but not requests through the proxy, which another container might relay."""

    _track_activity = False

    def initialize(self, token: str) -> None:
        """Take the server's token."""
        self._token = token

    @allow_unauthenticated
    def get(self) -> None:
        """Answer `{"hmac": "..."}`."""
        if "X-Forwarded-For" in self.request.headers:
            raise web.HTTPError(404)
        try:
            proof = jupyterhub_challenge.answer(self._token, self.get_query_argument("nonce", ""))
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from None
        self.finish({"hmac": proof})
