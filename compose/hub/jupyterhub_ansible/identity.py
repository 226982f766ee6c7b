"""Who a user is: the account's number at GitHub, which stays when its login changes hands.

A login can be given up and registered by somebody else; what the Hub keeps (homes, rights) belongs to the number that
came first. The table lies in the Hub's database, beside JupyterHub's own, so that both are saved and restored together.

    docker exec jupyterhub-hub python -m jupyterhub_ansible.identity list
    docker exec jupyterhub-hub python -m jupyterhub_ansible.identity forget <user>
"""

import argparse
import sys
from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Unicode, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from .settings import DATABASE_URL


class _Base(DeclarativeBase):
    pass


class Identity(_Base):
    """An account that has logged in. It outlives JupyterHub's user: the home does, too."""

    __tablename__ = "jupyterhub_ansible_identities"

    github_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    username: Mapped[str] = mapped_column(Unicode(255), unique=True)
    """JupyterHub's name of the user: the login at the first time, in lower case."""
    login: Mapped[str] = mapped_column(Unicode(255))
    """The login at the last time."""
    last_login: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class NameTakenError(Exception):
    """The login was another account's when that one first came."""

    def __init__(self, username: str, github_id: int) -> None:
        super().__init__(f"{username} is the name of the GitHub account number {github_id} here")
        self.username = username
        self.github_id = github_id


class Identities:
    """The accounts that have logged in.

    Args:
        db: a session of the Hub's database.
    """

    def __init__(self, db: Session) -> None:
        self._db = db
        _Base.metadata.create_all(db.get_bind())

    def named(self, username: str) -> Identity | None:
        """Return the account of a user."""
        return self._db.scalar(select(Identity).where(Identity.username == username))

    def username(self, github_id: int, login: str) -> str:
        """Return the name of an account's user: the one that it got at first, whatever its login is now.

        Raises:
            NameTakenError: the account never came before, and somebody else has the name.
        """
        if known := self._db.get(Identity, github_id, populate_existing=True):
            return known.username
        if holder := self.named(login.lower()):
            raise NameTakenError(holder.username, holder.github_id)
        return login.lower()

    def remember(self, github_id: int, username: str, login: str) -> None:
        """Store that an account has logged in as a user."""
        known = self._db.get(Identity, github_id, populate_existing=True)
        if known is None:
            known = Identity(github_id=github_id, username=username)
            self._db.add(known)
        known.login = login
        known.last_login = datetime.now(UTC)
        self._db.commit()

    def all(self) -> list[Identity]:
        """Return every account, by user name."""
        return list(self._db.scalars(select(Identity).order_by(Identity.username)))

    def forget(self, username: str) -> None:
        """Give a name free: whoever logs in next with that login gets it, with its home.

        Raises:
            KeyError: nobody has the name.
        """
        known = self.named(username)
        if known is None:
            raise KeyError(username)
        self._db.delete(known)
        self._db.commit()


def main() -> str | None:
    """List the accounts, or give a name free; a message if that is not possible (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible.identity", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="accounts that have logged in: user, last login name, number, last login")
    forget = commands.add_parser(
        "forget", help="give a name free: the next account of that login gets it, and the files"
    )
    forget.add_argument("user")
    arguments = parser.parse_args()
    identities = Identities(Session(create_engine(DATABASE_URL)))
    if arguments.command == "list":
        for each in identities.all():
            print(each.username, each.login, each.github_id, f"{each.last_login:%Y-%m-%d %H:%M}", sep="\t")
        return None
    try:
        identities.forget(arguments.user)
    except KeyError:
        return f"No account that has logged in is called {arguments.user} here; see: list"
    print(f"{arguments.user} is free: the next GitHub account with that login gets the name and the files.")
    return None


if __name__ == "__main__":
    sys.exit(main())
