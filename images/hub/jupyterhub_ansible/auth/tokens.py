"""API tokens that users make: bounded in number, and a list of those that have no end.

    docker exec jupyterhub-hub python -m jupyterhub_ansible tokens list

How long new ones last is JupyterHub's own (`JupyterHub.token_expires_in_max_seconds`); those that exist keep their
end, so an administrator can see here which have none. Tokens of services, of servers and of browsers' sessions at a
server (OAuth) are not counted, not listed and not bounded.
"""

import argparse
import sys
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import url_escape_path
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.orm import Session

from ..settings.model import DATABASE_URL

MOST = 50
"""Tokens that a user may have made, and that have not expired."""
HUB_CLIENT = "jupyterhub"
"""What JupyterHub notes of a token that it made itself, and not for an OAuth client."""
_SHOWN = 80


def of_servers(user: orm.User) -> list[orm.APIToken]:
    """Return the tokens by which a user's running servers speak to the Hub: the newest of each server's note.

    JupyterHub marks them by nothing else (`jupyterhub.user.User.spawn`), and anybody can write such a note: so there is
    one for each server, and no more.
    """
    found = []
    for spawner in user.orm_spawners.values():
        if spawner.server:
            note = f"Server at {spawner.server.base_url}"
            theirs = [token for token in user.api_tokens if token.client_id == HUB_CLIENT and token.note == note]
            found += sorted(theirs, key=lambda token: token.id)[-1:]
    return found


def of_people(user: orm.User) -> list[orm.APIToken]:
    """Return all tokens of a user but those of running servers: those that the user made, and those of browsers."""
    servers = of_servers(user)
    return [token for token in user.api_tokens if token not in servers]


def _now() -> datetime:
    # As JupyterHub stores times.
    return datetime.now(UTC).replace(tzinfo=None)


def made_by(user: orm.User) -> list[orm.APIToken]:
    """Return the tokens that a user made and that have not expired, oldest first."""
    now = _now()
    made = [token for token in of_people(user) if token.client_id == HUB_CLIENT]
    return sorted((token for token in made if not (token.expires_at and token.expires_at < now)), key=lambda t: t.id)


def remove_expired(db: Session, user: orm.User) -> None:
    """Remove a user's tokens that expired; JupyterHub does so every hour, and any number can be made in one."""
    now = _now()
    for token in [token for token in user.api_tokens if token.expires_at and token.expires_at < now]:
        db.delete(token)
    db.commit()


def remove_of_stopped(db: Session) -> None:
    """Remove the tokens of servers that do not run.

    JupyterHub removes a server's token when it stops, but does not know it any more once the Hub was started again.
    """
    noted = select(orm.APIToken).where(orm.APIToken.client_id == HUB_CLIENT, orm.APIToken.note.like("Server at /%"))
    for token in db.scalars(noted).all():
        if token.user and _is_of_server(token) and token not in of_servers(token.user):
            db.delete(token)
    db.commit()


def _is_of_server(token: orm.APIToken) -> bool:
    return f"/user/{url_escape_path(token.user.name)}/" in token.note


def server_stopped(spawner: Any) -> None:
    """Remove the token of a server that stopped, and any of an earlier Hub (`Spawner.post_stop_hook`)."""
    remove_of_stopped(spawner.user.db)


def without_end(db: Session) -> list[orm.APIToken]:
    """Return the tokens of all users that never expire, by user."""
    users = db.scalars(select(orm.User).order_by(orm.User.name))
    return [token for user in users for token in made_by(user) if token.expires_at is None]


def cleaned(text: str | None) -> str:
    """Return what a user wrote, cut, and with nothing that a terminal obeys."""
    words = "".join(letter if letter.isprintable() else " " for letter in text or "")
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 3]}..."


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"


def main() -> None:
    """List the tokens that never expire."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible tokens", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="API tokens that never expire: user, id, made, last used, note")
    parser.parse_args()
    engine = create_engine(DATABASE_URL)
    # Nothing was ever stored in a database that a Hub has not used yet.
    found = without_end(Session(engine)) if inspect(engine).has_table(orm.APIToken.__tablename__) else []
    for token in found:
        made, used = _day(token.created), _day(token.last_activity)
        # One write a line, as break_glass does and says why.
        sys.stdout.write("\t".join([token.user.name, token.api_id, made, used, cleaned(token.note)]) + "\n")
    sys.stderr.write(f"{len(found)} API tokens never expire. Their users revoke them on the Hub's page Token.\n")
