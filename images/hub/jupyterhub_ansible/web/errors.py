"""Errors of a request to the Hub, shown to the user on an error page."""

from http import HTTPStatus

from tornado.web import HTTPError


class PageError(HTTPError):
    """An error with a message for its page (`jupyterhub.handlers.base.BaseHandler.write_error` shows it).

    The code that raises it must also log `why`: tornado's own log entry would include the whole URL, with the key of an
    emergency link or GitHub's code in it.
    """

    def __init__(self, status: HTTPStatus, message: str, *, why: str = "") -> None:
        super().__init__(status, reason=status.phrase)
        self.jupyterhub_message = message
        self.why = why or message
