"""The Hub's pages and API that take a password, or make a token: JupyterHub's own, with bounds.

Any authenticator that checks what a form sends is behind one of two handlers: the login page, also where the
authenticator brings its own, and the API that makes a token for whoever sends a password with the request.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from jupyterhub.apihandlers.users import UserTokenListAPIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.login import LoginHandler
from tornado.web import HTTPError

from ..web.errors import PageError
from . import throttle, tokens


class Slow(BaseHandler):
    """Of a handler: guesses are counted (`jupyterhub.handlers.BaseHandler.authenticate`)."""

    refused: throttle.TooManyGuessesError | None = None

    async def authenticate(self, data: Any) -> Any:
        """Ask the authenticator, unless too many logins failed.

        Raises:
            TooManyGuessesError: they did.
            PageError: what was sent is no name and password.
        """
        name = data.get("username") if isinstance(data, dict) else None
        try:
            guess = throttle.SHARED.begin(self.request.remote_ip, name if isinstance(name, str) else "")
        except throttle.TooManyGuessesError as error:
            self.refused = error
            raise
        try:
            found = await super().authenticate(data)
        except HTTPError as error:
            if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                guess.undo()
            else:
                guess.failed()
            raise
        except (AttributeError, KeyError, TypeError) as error:
            guess.failed()
            # A field is missing or no text, or compare_digest got letters that it does not take: no reason for a
            # traceback.
            self.log.warning("Login data that cannot be right: %s", type(error).__name__)
            raise PageError(HTTPStatus.FORBIDDEN, "Invalid username or password") from None
        except BaseException:
            # Such as a directory that does not answer.
            guess.undo()
            raise
        if found:
            guess.succeeded()
        else:
            guess.failed()
        return found


class BoundedTokens(Slow):
    """Of the API that makes tokens (`jupyterhub.apihandlers.users.UserTokenListAPIHandler`)."""

    async def post(self, user_name: str) -> None:
        """Make a token, unless its user has as many as a user may have.

        Raises:
            PageError: too many logins failed, or the user has too many tokens, or the token would be over already.
        """
        body = self.get_json_body()
        lasts = body.get("expires_in") if isinstance(body, dict) else None
        if isinstance(lasts, int) and lasts <= 0:
            # JupyterHub stores it, does not find it, and logs the whole body.
            raise PageError(HTTPStatus.BAD_REQUEST, "token expires_in must be a positive number of seconds")
        user = self.find_user(user_name)
        if user:
            tokens.remove_expired(self.db, user.orm_user)
        before = {token.id for token in tokens.made_by(user.orm_user)} if user else set()
        try:
            await super().post(user_name)
        except HTTPError:
            # JupyterHub makes 403 of any.
            if self.refused:
                raise self.refused from None
            raise
        # Only now is it known that the one who asks may make it; it has not been sent yet.
        made = tokens.made_by(user.orm_user)
        if len(made) > tokens.MOST:
            for token in made:
                if token.id not in before:
                    self.db.delete(token)
            self.db.commit()
            raise PageError(
                HTTPStatus.CONFLICT,
                f"{user.name} has {tokens.MOST} API tokens, the most that a user may have."
                " Revoke those that are no longer needed on the Token page.",
            )


def bounded(handlers: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return an application's handlers (path, class, ...), with those that take a password or make a token bounded."""
    made: dict[type, type] = {}

    def of(handler: type) -> type:
        for kind, ours in ((LoginHandler, Slow), (UserTokenListAPIHandler, BoundedTokens)):
            if issubclass(handler, kind):
                return made.setdefault(handler, type(handler.__name__, (ours, handler), {}))
        return handler

    return [(path, of(handler), *rest) for path, handler, *rest in handlers]
