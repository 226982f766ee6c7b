"""Answers that end a request, in words for the one who made it."""

from http import HTTPStatus

from jupyterhub.spawner import SpawnException
from tornado.web import HTTPError


class PageError(HTTPError):
    """An error whose page says why (`jupyterhub.handlers.base.BaseHandler.write_error` shows `jupyterhub_message`).

    Whoever raises it has it logged, too (`why`): tornado would log it with the request's whole address, and a link's
    key or GitHub's code in it.
    """

    def __init__(self, status: HTTPStatus, message: str, *, why: str = "") -> None:
        super().__init__(status, reason=status.phrase)
        self.jupyterhub_message = message
        self.why = why or message


class ServerError(SpawnException):
    """A server that cannot start, in words for its user; `log_message` is for the administrator.

    The status is 503 unless the user asked for something wrong: with 500, JupyterHub logs the request's headers.
    """

    def __init__(self, message: str, *, reason: str, log_message: str = "", status_code: int = 503) -> None:
        super().__init__(message, reason=reason, log_message=log_message, status_code=status_code)
        # The spawn form and the progress page show this (jupyterhub.utils.format_exception).
        self.jupyterhub_message = message
