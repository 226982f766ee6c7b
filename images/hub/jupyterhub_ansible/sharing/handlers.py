"""The pages by which owners share a server, and guests accept it, and the requests that these pages make.

A link's code is a secret, as a token is.  It stands behind the # of the link, which browsers never send, and then in
the body of a request, so that it is in no log, of whatever stands between.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any, NoReturn

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.pages import AcceptShareHandler
from tornado.web import authenticated

from ..auth.membership import is_blocked, may_stay
from ..web.errors import PageError
from . import cards, grants

ACCEPT = "accept-share"
"""The page to which links lead, relative to the Hub's prefix: JupyterHub's."""

OTHER_KIND = "Servers of this kind cannot be shared."
"""With an operator's own spawner, which may keep the connections of people whose access has ended."""


def _policy(user: Any) -> str:
    """Return with whom users may share."""
    return str(getattr(user.spawner, "sharing", grants.NOBODY))


class SharePage(BaseHandler):
    """The page on which an owner shares one of their servers."""

    @authenticated
    async def get(self, server_name: str = "") -> None:
        """Show links and guests of a server."""
        user = self.current_user
        if server_name and server_name not in user.orm_spawners:
            raise PageError(HTTPStatus.NOT_FOUND, f"You have no server {server_name}.")
        spawner = user.get_or_create_spawner(server_name, "")
        if not hasattr(spawner, "unshareable"):
            raise PageError(HTTPStatus.FORBIDDEN, OTHER_KIND)
        stored = spawner.orm_spawner
        self.finish(
            await self.render_template(
                "share.html",
                server=server_name,
                title=(stored.display_name or stored.name) if stored.name else "Default server",
                obstacle=spawner.unshareable(),
                lengths=grants.LENGTHS,
                links=[(each, cards.left(each), grants.may_start(each)) for each in grants.links(stored)],
                guests=[(each, cards.left(each), grants.may_start(each)) for each in grants.guests(stored)],
                running=spawner.active,
                home_is_shared=spawner.share_home,
            )
        )


class AcceptPage(AcceptShareHandler):
    """The page on which a guest accepts a link; a code of JupyterHub's own in the address is treated as before."""

    async def get(self) -> None:
        """Show the page, also before the login, which would lose what stands behind the #."""
        if self.get_argument("code", ""):
            await super().get()
        else:
            self.finish(await self.render_template("invitation.html"))

    @authenticated
    def post(self) -> None:
        """Accept a code of JupyterHub's own; one of our links lasts no longer this way than another."""
        if not (link := grants.find_link(self.db, self.get_argument("code"))):
            super().post()
            return
        try:
            user = self.current_user
            grants.accept(self.db, link, user.orm_user, _policy(user), partial(is_blocked, self.authenticator))
        except grants.SharingError as error:
            raise PageError(HTTPStatus.FORBIDDEN, str(error)) from None
        self.redirect(f"{self.hub.base_url}home")


class _Request(APIHandler):
    # Only pages: a token of a user, or of a server of theirs, neither shares nor accepts.
    _accept_token_auth = False

    def field(self, name: str, kind: type) -> Any:
        """Return a field of the request.

        Raises:
            PageError: it is missing, or of another type.
        """
        body = self.get_json_body()
        value = body.get(name) if isinstance(body, dict) else None
        if not isinstance(value, kind):
            self.refuse(f"The request lacks {name}.", HTTPStatus.BAD_REQUEST)
        return value

    def refuse(self, message: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> NoReturn:
        """Answer with an error.

        Raises:
            PageError: always.
        """
        raise PageError(status, message)

    def own_server(self) -> orm.Spawner:
        """Return the server of the user who asks that the request names.

        Raises:
            PageError: there is none.
        """
        name = self.field("server", str)
        user = self.current_user
        if name not in user.orm_spawners:
            self.refuse("You have no such server.", HTTPStatus.NOT_FOUND)
        return user.orm_spawners[name]

    def granted(self) -> orm.Share:
        """Return the share with the user who asks that the request names.

        Raises:
            PageError: there is none.
        """
        owner, server = self.field("owner", str), self.field("server", str)
        for share in self.current_user.orm_user.shared_with_me:
            if (share.owner.name, share.spawner.name) == (owner, server) and not share.expired:
                return share
        # The same words whether such a server exists or not.
        raise PageError(HTTPStatus.NOT_FOUND, "You may not use this server any more.")

    def link(self) -> orm.ShareCode:
        """Return the link that the request names by its code.

        Raises:
            PageError: there is none, or it has ended.
        """
        if not (link := grants.find_link(self.db, self.field("code", str))):
            self.refuse("This link has ended, or was deleted. Please ask for another one.", HTTPStatus.NOT_FOUND)
        return link


class MakeLink(_Request):
    """Makes a link."""

    @authenticated
    def post(self) -> None:
        """Answer with the link, which is shown this once."""
        stored, lasts_s = self.own_server(), self.field("lasts_s", int)
        spawner = self.current_user.get_spawner(stored.name)
        if why := spawner.unshareable() if hasattr(spawner, "unshareable") else OTHER_KIND:
            self.refuse(why)
        if not grants.SHORTEST_S <= lasts_s <= max(grants.LENGTHS):
            self.refuse("A link can last for a minute at least, and for 30 days at most.", HTTPStatus.BAD_REQUEST)
        try:
            _, code = grants.make_link(self.db, stored, lasts_s, start=self.field("start", bool))
        except grants.SharingError as error:
            self.refuse(str(error), HTTPStatus.CONFLICT)
        self.write({"path": f"{self.hub.base_url}{ACCEPT}#{code}"})


class EndSharing(_Request):
    """Deletes a link, removes a guest, or ends all sharing of a server."""

    @authenticated
    def post(self) -> None:
        """End what the field `what` says: all, link or guest, the last two with their `id`."""
        stored, what = self.own_server(), self.field("what", str)
        if what == "all":
            grants.stop_sharing(self.db, stored)
        else:
            of = {"link": grants.links, "guest": grants.guests}.get(what, lambda _: [])
            number = self.field("id", int)
            for each in of(stored):
                if each.id == number and what == "guest":
                    grants.remove_guest(self.db, each)
                elif each.id == number:
                    self.db.delete(each)
        self.db.commit()
        self.set_status(HTTPStatus.NO_CONTENT)


class ReadInvitation(_Request):
    """Tells what a link offers."""

    @authenticated
    def post(self) -> None:
        """Answer with owner, server, rights and time, and why the guest cannot accept it ("" if they can)."""
        link, user = self.link(), self.current_user
        blocked = partial(is_blocked, self.authenticator)
        self.write(
            {
                "owner": link.owner.name,
                "server": link.spawner.display_name or link.spawner.name,
                "start": grants.may_start(link),
                "left": cards.left(link),
                "refusal": grants.obstacle(link, user.orm_user, _policy(user), blocked),
            }
        )


class AcceptInvitation(_Request):
    """Lets a guest in."""

    @authenticated
    def post(self) -> None:
        """Accept a link."""
        user = self.current_user
        try:
            blocked = partial(is_blocked, self.authenticator)
            share = grants.accept(self.db, self.link(), user.orm_user, _policy(user), blocked)
        except grants.SharingError as error:
            self.refuse(str(error))
        self.log.info("%s accepted a link to %s/%s", user.name, share.owner.name, share.spawner.name)
        self.set_status(HTTPStatus.NO_CONTENT)


class LeaveServer(_Request):
    """Gives a guest's access up."""

    @authenticated
    def post(self) -> None:
        """End the share."""
        grants.end(self.db, self.granted())
        self.db.commit()
        self.set_status(HTTPStatus.NO_CONTENT)


class StartServer(_Request):
    """Starts a server for a guest, with what its owner chose last."""

    @authenticated
    async def post(self) -> None:
        """Start it; the answer comes when it runs, or after some seconds."""
        share = self.granted()
        if not grants.may_start(share):
            self.refuse(f"You may use this server while it runs. Please ask {share.owner.name} to start it.")
        owner, name = self.find_user(share.owner.name), share.spawner.name
        # JupyterHub checks only the membership of who asks.
        if not await may_stay(self.authenticator, owner):
            self.refuse(f"{owner.name} may not use this Hub any more, so this server cannot be started.")
        spawner = owner.get_spawner(name, replace_failed=True)
        if not spawner.active:
            await self.spawn_single_user(owner, name)
        self.set_status(HTTPStatus.ACCEPTED)


HANDLERS = (
    (r"share", SharePage),
    (r"share/([^/]+)", SharePage),
    (r"sharing/links", MakeLink),
    (r"sharing/end", EndSharing),
    (r"sharing/invitation", ReadInvitation),
    (r"sharing/accept", AcceptInvitation),
    (r"sharing/leave", LeaveServer),
    (r"sharing/start", StartServer),
)
"""Patterns, relative to the Hub's prefix."""


def accepting(rules: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the Hub's rules (pattern, handler, arguments), with our page in place of the one to which links lead."""
    return [
        (pattern, AcceptPage if issubclass(handler, AcceptShareHandler) else handler, *rest)
        for pattern, handler, *rest in rules
    ]
