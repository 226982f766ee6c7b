"""Who a user is: the account's number at GitHub, which stays when its login changes hands.

A login can be given up and registered by somebody else; what the Hub keeps (homes, rights) belongs to the number that
came first. The table lies in the Hub's database, beside JupyterHub's own, so that both are saved and restored together.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Unicode, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


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

    def _named(self, username: str) -> Identity | None:
        return self._db.scalar(select(Identity).where(Identity.username == username))

    def username(self, github_id: int, login: str) -> str:
        """Return the name of an account's user: the one that it got at first, whatever its login is now.

        Raises:
            NameTakenError: the account never came before, and somebody else has the name.
        """
        if known := self._db.get(Identity, github_id, populate_existing=True):
            return known.username
        if holder := self._named(login.lower()):
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

    def all(self) -> list[dict[str, Any]]:
        """Return every account, by user name."""
        found = self._db.scalars(select(Identity).order_by(Identity.username))
        return [
            {"github_id": each.github_id, "username": each.username, "login": each.login, "last_login": each.last_login}
            for each in found
        ]

    def forget(self, username: str) -> None:
        """Give a name free: whoever logs in next with that login gets it, with its home.

        Raises:
            KeyError: nobody has the name.
        """
        known = self._named(username)
        if known is None:
            raise KeyError(username)
        self._db.delete(known)
        self._db.commit()
