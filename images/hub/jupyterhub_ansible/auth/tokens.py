"""API tokens that users create: limited in number, and a list of those that never expire.

    docker exec jupyterhub-hub python -m jupyterhub_ansible tokens list

JupyterHub limits the lifetime of new ones (`JupyterHub.token_expires_in_max_seconds`); existing ones keep theirs, so an
administrator can list here which never expire. Tokens of services, of servers and of browser sessions at a server
(OAuth) are neither counted nor listed nor limited.
"""

import argparse
import sys
from datetime import UTC, datetime

from jupyterhub import orm
from jupyterhub.utils import url_escape_path
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.orm import Session

from ..settings.model import DATABASE_URL

MOST = 50
"""Unexpired tokens that a user may have created."""
HUB_CLIENT = "jupyterhub"
"""Client id of a token that was not issued to an OAuth client."""
_SHOWN = 80


def of_servers(user: orm.User) -> list[orm.APIToken]:
    """Return the tokens that a user's running servers use for the Hub's API: the newest with each server's note.

    JupyterHub marks them only by their note (`jupyterhub.user.User.spawn`), which users can forge; so only one for each
    server counts.
    """
    found = []
    for spawner in user.orm_spawners.values():
        if spawner.server:
            note = f"Server at {spawner.server.base_url}"
            theirs = [token for token in user.api_tokens if token.client_id == HUB_CLIENT and token.note == note]
            found += sorted(theirs, key=lambda token: token.id)[-1:]
    return found


def except_servers(user: orm.User) -> list[orm.APIToken]:
    """Return a user's tokens except those of running servers: those that the user created, and those of browsers."""
    servers = of_servers(user)
    return [token for token in user.api_tokens if token not in servers]


def disown(db: Session, user: orm.User) -> None:
    """End what another person may have had or given away under this name; the caller commits.

    These are sessions, tokens, and shares of servers; a running server keeps its own token.
    """
    user.cookie_id = orm.new_token()
    for each in (*except_servers(user), *user.shares, *user.share_codes, *user.shared_with_me):
        db.delete(each)


def _now() -> datetime:
    # Naive UTC, as JupyterHub stores times.
    return datetime.now(UTC).replace(tzinfo=None)


def made_by(user: orm.User) -> list[orm.APIToken]:
    """Return the unexpired tokens that a user created, oldest first."""
    now = _now()
    made = [token for token in except_servers(user) if token.client_id == HUB_CLIENT]
    return sorted((token for token in made if not (token.expires_at and token.expires_at < now)), key=lambda t: t.id)


def remove_expired(db: Session, user: orm.User) -> None:
    """Remove a user's expired tokens; JupyterHub does so only every hour, in which any number can be created."""
    now = _now()
    for token in [token for token in user.api_tokens if token.expires_at and token.expires_at < now]:
        db.delete(token)
    db.commit()


def remove_stale(db: Session) -> None:
    """Remove the tokens of stopped servers.

    JupyterHub removes a server's token when it stops, but not if the Hub was restarted meanwhile.
    """
    noted = select(orm.APIToken).where(orm.APIToken.client_id == HUB_CLIENT, orm.APIToken.note.like("Server at /%"))
    for token in db.scalars(noted).all():
        if token.user and _is_of_server(token) and token not in of_servers(token.user):
            db.delete(token)
    db.commit()


def _is_of_server(token: orm.APIToken) -> bool:
    return f"/user/{url_escape_path(token.user.name)}/" in token.note


def never_expiring(db: Session) -> list[orm.APIToken]:
    """Return the tokens of all users that never expire, by user."""
    users = db.scalars(select(orm.User).order_by(orm.User.name))
    return [token for user in users for token in made_by(user) if token.expires_at is None]


def cleaned(text: str | None) -> str:
    """Return a user's text, shortened and without control characters."""
    words = "".join(letter if letter.isprintable() else " " for letter in text or "")
    return words if len(words) <= _SHOWN else f"{words[: _SHOWN - 3]}..."


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "never"


def main() -> None:
    """List the tokens that never expire."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible tokens", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="API tokens that never expire: user, id, created, last used, note")
    parser.parse_args()
    engine = create_engine(DATABASE_URL)
    # The database has no tables before the Hub's first start.
    found = never_expiring(Session(engine)) if inspect(engine).has_table(orm.APIToken.__tablename__) else []
    for token in found:
        made, used = _day(token.created), _day(token.last_activity)
        # One write per line; emergency_link says why.
        sys.stdout.write("\t".join([token.user.name, token.api_id, made, used, cleaned(token.note)]) + "\n")
    sys.stderr.write(f"{len(found)} API tokens never expire. Their users revoke them on the Hub's page Token.\n")
