"""The requests by which pages learn of messages, and by which administrators send and remove them."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from http import HTTPStatus
from typing import Any, ClassVar

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import authenticated

from ..web.administrators import is_administrator
from ..web.errors import PageError
from ..web.waiting import WAIT_S, WaitingHandler
from .store import MessageError, Messages

LENGTHS = {900: "15 minutes", 3600: "an hour", 8 * 3600: "eight hours", 86400: "a day", 7 * 86400: "a week"}
"""For how many seconds a message can be shown, in words."""


class Inbox(WaitingHandler):
    """The messages of the user who asks; with those that the page shows (`seen`), waits until there are others."""

    messages: ClassVar[Messages]

    async def get(self) -> None:
        """Answer with all messages: `{"messages": [{"id": 1, "text": "..."}]}`."""
        if not isinstance(getattr(self.current_user, "orm_user", None), orm.User):
            self.set_status(HTTPStatus.FORBIDDEN)
            self.finish({})
            return
        name, seen = self.current_user.name, self.get_argument("seen", None)
        found = self.messages.of(name)
        if seen is not None and seen == ",".join(str(each.id) for each in found):
            if not await self.wait(self.messages.changed(WAIT_S)):
                return
            found = self.messages.of(name)
        self.set_header("Cache-Control", "no-store")
        self.finish({"messages": [{"id": each.id, "text": each.text} for each in found]})


class Outbox(APIHandler):
    """Sends and removes messages."""

    # Only the administrators' page.
    _accept_token_auth = False

    @authenticated
    def post(self) -> None:
        """Send `text` to `username` (null: everybody) for `lasts_s` seconds; or remove the message `remove`.

        Raises:
            PageError: the sender is no administrator, or the message cannot be sent.
        """
        if not is_administrator(self):
            raise PageError(HTTPStatus.FORBIDDEN, "Only administrators send messages.")
        body = self.get_json_body()
        given: dict[str, Any] = body if isinstance(body, dict) else {}
        if isinstance(given.get("remove"), int):
            Inbox.messages.remove(given["remove"])
            self.set_status(HTTPStatus.NO_CONTENT)
            return
        text, username, lasts_s = given.get("text"), given.get("username"), given.get("lasts_s")
        if not isinstance(text, str) or lasts_s not in LENGTHS:
            raise PageError(HTTPStatus.BAD_REQUEST, "The request lacks text or lasts_s.")
        if username is not None and not (isinstance(username, str) and self.find_user(username)):
            raise PageError(HTTPStatus.NOT_FOUND, "There is no user of that name.")
        try:
            Inbox.messages.send(text, username, self.current_user.name, lasts_s)
        except MessageError as error:
            raise PageError(HTTPStatus.BAD_REQUEST, str(error)) from None
        self.log.info("%s sent a message to %s", self.current_user.name, username or "everybody")
        self.set_status(HTTPStatus.CREATED)


HANDLERS = ((r"messages", Inbox), (r"messages/send", Outbox))
