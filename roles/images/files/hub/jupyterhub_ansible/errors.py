"""Answers that end a request, in words for the one who made it."""

from http import HTTPStatus

from tornado.web import HTTPError


class PageError(HTTPError):
    """An error whose page says why (`jupyterhub.handlers.base.BaseHandler.write_error` shows `jupyterhub_message`)."""

    def __init__(self, status: HTTPStatus, message: str, *, log_message: str = "") -> None:
        super().__init__(status, "%s", log_message or message)
        self.jupyterhub_message = message
