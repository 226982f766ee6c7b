"""Answers that end a request, in words for the one who made it."""

from http import HTTPStatus

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
