"""Identity of users: the account's number at GitHub, which never changes, unlike its login.

A login can be abandoned and registered by somebody else; a user's homes and rights belong to the account number that
logged in first. The tables are in the Hub's database, so that backups include them.

    docker exec jupyterhub-hub python -m jupyterhub_ansible identity list
    docker exec jupyterhub-hub python -m jupyterhub_ansible identity forget <user or login>
"""

import argparse
from datetime import UTC, datetime

from jupyterhub import orm
from sqlalchemy import BigInteger, DateTime, Unicode, create_engine, delete, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from ..settings.model import DATABASE_URL


class _Base(DeclarativeBase):
    pass


class Identity(_Base):
    """An account that has logged in. It outlives JupyterHub's user, as the home does."""

    __tablename__ = "jupyterhub_ansible_identities"

    github_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    username: Mapped[str] = mapped_column(Unicode(255), unique=True)
    """The username in JupyterHub: the login at the first login, in lower case."""
    login: Mapped[str] = mapped_column(Unicode(255))
    """The login when last seen."""
    last_login: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Name(_Base):
    """A name that an account has or had here: its username, or a login that it was seen with; in lower case."""

    __tablename__ = "jupyterhub_ansible_names"

    name: Mapped[str] = mapped_column(Unicode(255), primary_key=True)
    github_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Organization(_Base):
    """An organization that settings name, with the number that it had when first seen."""

    __tablename__ = "jupyterhub_ansible_organizations"

    name: Mapped[str] = mapped_column(Unicode(255), primary_key=True)
    github_id: Mapped[int] = mapped_column(BigInteger)


class NameTakenError(Exception):
    """The login is or was that of another account here."""

    def __init__(self, username: str, github_id: int) -> None:
        super().__init__(f"{username} is the name of the GitHub account number {github_id} here")
        self.username = username
        self.github_id = github_id


class ServerRunningError(Exception):
    """A server of that user is running."""


class LoginTakenError(Exception):
    """A known account has the login now, and would get the rights that settings give to that name."""

    def __init__(self, taker: Identity, name: str) -> None:
        super().__init__(
            f"The GitHub account number {taker.github_id}, {taker.username} here, has the login {taker.login},"
            f" and would get the rights of {name} within minutes. If it is to have them: forget {name} --anyway"
        )


class Identities:
    """The accounts that have logged in.

    Args:
        db: a session of the Hub's database.
    """

    def __init__(self, db: Session) -> None:
        self._db = db
        _Base.metadata.create_all(db.get_bind())

    def by_username(self, username: str) -> Identity | None:
        """Return the account of a username."""
        return self._db.scalar(
            select(Identity).where(Identity.username == username).execution_options(populate_existing=True)
        )

    def by_id(self, github_id: int) -> Identity | None:
        """Return an account by its number."""
        return self._db.get(Identity, github_id, populate_existing=True)

    def holders(self, name: str) -> list[int]:
        """Return the numbers of all accounts that have or had a name here; the one with that username comes first.

        Older databases, without a table of names, have only current ones.
        """
        name = name.lower()
        by_user = self._db.scalars(select(Identity.github_id).where(Identity.username == name))
        by_login = self._db.scalars(select(Identity.github_id).where(func.lower(Identity.login) == name))
        earlier = self._db.scalars(select(Name.github_id).where(Name.name == name).order_by(Name.github_id))
        return list(dict.fromkeys([*by_user, *by_login, *earlier]))

    def names(self, github_id: int) -> set[str]:
        """Return all names that an account has or had here."""
        names = set(self._db.scalars(select(Name.name).where(Name.github_id == github_id)))
        if known := self.by_id(github_id):
            names |= {known.username, known.login.lower()}
        return names

    def other_holders(self, github_id: int, name: str) -> list[int]:
        """Return the numbers of other accounts that have or had a name here."""
        return [holder for holder in self.holders(name) if holder != github_id]

    def username(self, github_id: int, login: str) -> str:
        """Return the username of an account: the one that it got at its first login, whatever its login is now.

        Raises:
            NameTakenError: the account is new, and another has or had the name.
        """
        if known := self.by_id(github_id):
            return known.username
        if others := self.other_holders(github_id, login):
            raise NameTakenError(login.lower(), others[0])
        return login.lower()

    def remember(self, github_id: int, username: str, login: str) -> None:
        """Store a login of an account."""
        known = self.by_id(github_id)
        if known is None:
            known = Identity(github_id=github_id, username=username, login=login)
            self._db.add(known)
        known.last_login = datetime.now(UTC)
        self._update_login(known, login)
        self._db.commit()

    def update_login(self, github_id: int, login: str) -> None:
        """Store the current login of a known account, if it changed."""
        known = self.by_id(github_id)
        if known is not None and known.login != login:
            self._update_login(known, login)
            self._db.commit()

    def _update_login(self, known: Identity, login: str) -> None:
        for name in (known.username, known.login.lower(), login.lower()):
            self.add_name(known.github_id, name)
        known.login = login

    def add_name(self, github_id: int, name: str) -> None:
        """Record that an account has or had a name; the caller commits."""
        self._db.merge(Name(name=name, github_id=github_id))

    def organization(self, name: str, github_id: int) -> int:
        """Return the number that an organization had when first seen, which is now if it is new."""
        known = self._db.get(Organization, name, populate_existing=True)
        if known is None:
            known = Organization(name=name, github_id=github_id)
            self._db.add(known)
            self._db.commit()
        return known.github_id

    def organizations(self) -> list[Organization]:
        """Return all known organizations, by name."""
        return list(self._db.scalars(select(Organization).order_by(Organization.name)))

    def forget_organization(self, name: str) -> None:
        """Forget an organization, so that the next one seen by that name takes its place.

        Raises:
            KeyError: it is unknown.
        """
        known = self._db.get(Organization, name.lower())
        if known is None:
            raise KeyError(name)
        self._db.delete(known)
        self._db.commit()

    def all(self) -> list[Identity]:
        """Return all accounts, by username."""
        return list(self._db.scalars(select(Identity).order_by(Identity.username)))

    def forget(self, name: str, *, anyway: bool = False) -> None:
        """Release a name: the next account that logs in with that login gets it, with its home.

        Args:
            name: a username, or a former login.
            anyway: even if a known account has that login now, and then gets its rights (not its home) at once.

        Raises:
            KeyError: no account has or had the name.
            LoginTakenError: a known account has that login now.
            ServerRunningError: a server of that user is running.
        """
        name = name.lower()
        if not self.holders(name):
            raise KeyError(name)
        for each in self.all():
            if each.login.lower() == name != each.username and self.other_holders(each.github_id, name) and not anyway:
                raise LoginTakenError(each, name)
        if known := self.by_username(name):
            user = self._db.scalar(select(orm.User).where(orm.User.name == name))
            if user and any(spawner.server_id for spawner in user.orm_spawners.values()):
                raise ServerRunningError(f"A server of {name} is running: stop it first")
            self._db.execute(delete(Name).where(Name.github_id == known.github_id))
            self._db.delete(known)
        self._db.execute(delete(Name).where(Name.name == name))
        for each in self._db.scalars(select(Identity).where(func.lower(Identity.login) == name)):
            # The owner's current login is stored at the next login.
            each.login = each.username
        self._db.commit()


def _shown(identities: Identities, each: Identity) -> str:
    """Describe an account's other names, and whether its login is or was that of another account."""
    earlier = sorted(identities.names(each.github_id) - {each.username, each.login.lower()})
    words = [f"also {name}" for name in earlier]
    if each.login.lower() != each.username and (others := identities.other_holders(each.github_id, each.login)):
        words.append(f"rights of {each.login.lower()} are not given: it is or was number {others[0]}")
    return "; ".join(words)


def main() -> str | None:
    """List the accounts, or release a name; return a message if that fails (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible identity", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="accounts that have logged in: user, login, number, last login, other names")
    forget = commands.add_parser(
        "forget", help="release a name: the next account with that login gets it, and the files"
    )
    forget.add_argument("user", help="a username, a former login, or an organization followed by a colon")
    forget.add_argument(
        "--anyway", action="store_true", help="even if a known account has that login, and so its rights"
    )
    arguments = parser.parse_args()
    identities = Identities(Session(create_engine(DATABASE_URL)))
    if arguments.command == "list":
        for each in identities.all():
            last = f"{each.last_login:%Y-%m-%d %H:%M}"
            print(each.username, each.login, each.github_id, last, _shown(identities, each), sep="\t")
        for organization in identities.organizations():
            print(f"{organization.name}:", organization.name, organization.github_id, "", "organization", sep="\t")
        return None
    name, colon, _ = arguments.user.partition(":")
    try:
        if colon:
            identities.forget_organization(name)
            print(f"{name} is free: settings now refer to the next organization of that name.")
            return None
        identities.forget(arguments.user, anyway=arguments.anyway)
    except KeyError:
        return f"No account with the name or former name {arguments.user} has logged in here; see: list"
    except (ServerRunningError, LoginTakenError) as error:
        return str(error)
    print(f"{arguments.user} is free: the next GitHub account with that login gets the name and the files.")
    return None
