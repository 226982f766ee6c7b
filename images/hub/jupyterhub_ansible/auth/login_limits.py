"""Limits for JupyterHub's handlers that take a password or create a token.

Authenticators that check a form are behind one of two handlers: the login page, which an authenticator may subclass,
and the API that creates a token for a request with a password.
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

from ..audit import refusals
from ..web.errors import PageError
from . import throttle, tokens


class ThrottledLogin(BaseHandler):
    """Handler mixin that throttles login attempts (`jupyterhub.handlers.BaseHandler.authenticate`)."""

    refused: throttle.TooManyAttemptsError | None = None

    async def authenticate(self, data: Any) -> Any:
        """Call the authenticator, unless too many logins failed.

        Raises:
            TooManyAttemptsError: too many failed.
            PageError: the login data are malformed.
        """
        name = data.get("username") if isinstance(data, dict) else None
        try:
            guess = throttle.SHARED.begin(self.request.remote_ip, name if isinstance(name, str) else "")
        except throttle.TooManyAttemptsError as error:
            self.refused = error
            refusals.SHARED.record(
                str(self.request.remote_ip or ""),
                throttled=True,
                actor=refusals.known(self.db, name),
                result="refused",
                why="slowed down, since too many failed",
            )
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
            # A field is missing or not a string, or compare_digest got characters that it does not support.
            self.log.warning("Malformed login data: %s", type(error).__name__)
            raise PageError(HTTPStatus.FORBIDDEN, "Invalid username or password") from None
        except BaseException:
            # For example, a directory that does not answer.
            guess.undo()
            raise
        if found:
            guess.succeeded()
        else:
            guess.failed()
        return found


class LimitedTokens(ThrottledLogin):
    """Handler mixin that limits API tokens (`jupyterhub.apihandlers.users.UserTokenListAPIHandler`)."""

    async def post(self, user_name: str) -> None:
        """Create a token, unless its user has the maximum number.

        Raises:
            PageError: too many logins failed, the user has too many tokens, or the lifetime is not positive.
        """
        body = self.get_json_body()
        lasts = body.get("expires_in") if isinstance(body, dict) else None
        if isinstance(lasts, int) and lasts <= 0:
            # JupyterHub would store it, fail to find it, and log the whole body.
            raise PageError(HTTPStatus.BAD_REQUEST, "token expires_in must be a positive number of seconds")
        user = self.find_user(user_name)
        if user:
            tokens.remove_expired(self.db, user.orm_user)
        before = {token.id for token in tokens.made_by(user.orm_user)} if user else set()
        try:
            await super().post(user_name)
        except HTTPError:
            # JupyterHub turns any error into 403.
            if self.refused:
                raise self.refused from None
            raise
        # Afterwards, because only now is the caller authorized; the token has not been sent yet.
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
    """Return handlers (path, class, ...), with limits on those that take a password or create a token."""
    made: dict[type, type] = {}

    def of(handler: type) -> type:
        for kind, ours in ((LoginHandler, ThrottledLogin), (UserTokenListAPIHandler, LimitedTokens)):
            if issubclass(handler, kind):
                return made.setdefault(handler, type(handler.__name__, (ours, handler), {}))
        return handler

    return [(path, of(handler), *rest) for path, handler, *rest in handlers]
