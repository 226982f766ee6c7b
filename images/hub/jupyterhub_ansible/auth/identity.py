"""Who a user is: the account's number at GitHub, which stays when its login changes hands.

A login can be given up and registered by somebody else; what the Hub keeps (homes, rights) belongs to the number that
came first. The tables lie in the Hub's database, beside JupyterHub's own, so that all are saved and restored together.

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
    """An account that has logged in. It outlives JupyterHub's user: the home does, too."""

    __tablename__ = "jupyterhub_ansible_identities"

    github_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    username: Mapped[str] = mapped_column(Unicode(255), unique=True)
    """JupyterHub's name of the user: the login at the first time, in lower case."""
    login: Mapped[str] = mapped_column(Unicode(255))
    """The login at the last time."""
    last_login: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Name(_Base):
    """A name that an account has or had here: its user's, or a login under which it was seen; in lower case."""

    __tablename__ = "jupyterhub_ansible_names"

    name: Mapped[str] = mapped_column(Unicode(255), primary_key=True)
    github_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class Organization(_Base):
    """An organization whose members or teams have rights here, by the number that it had at first."""

    __tablename__ = "jupyterhub_ansible_organizations"

    name: Mapped[str] = mapped_column(Unicode(255), primary_key=True)
    github_id: Mapped[int] = mapped_column(BigInteger)


class NameTakenError(Exception):
    """The login is or was another account's here."""

    def __init__(self, username: str, github_id: int) -> None:
        super().__init__(f"{username} is the name of the GitHub account number {github_id} here")
        self.username = username
        self.github_id = github_id


class InUseError(Exception):
    """A server of that user runs."""


class TakenError(Exception):
    """A known account has the login by now, and would get all that settings give that name."""

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

    def named(self, username: str) -> Identity | None:
        """Return the account of a user."""
        return self._db.scalar(
            select(Identity).where(Identity.username == username).execution_options(populate_existing=True)
        )

    def known(self, github_id: int) -> Identity | None:
        """Return an account by its number."""
        return self._db.get(Identity, github_id, populate_existing=True)

    def holders(self, name: str) -> list[int]:
        """Return the numbers of all accounts that have or had a name here; the one whose user's name it is comes first.

        Databases from before there was a table of names have those of now only.
        """
        name = name.lower()
        by_user = self._db.scalars(select(Identity.github_id).where(Identity.username == name))
        by_login = self._db.scalars(select(Identity.github_id).where(func.lower(Identity.login) == name))
        earlier = self._db.scalars(select(Name.github_id).where(Name.name == name).order_by(Name.github_id))
        return list(dict.fromkeys([*by_user, *by_login, *earlier]))

    def names(self, github_id: int) -> set[str]:
        """Return all names that an account has or had here."""
        names = set(self._db.scalars(select(Name.name).where(Name.github_id == github_id)))
        if known := self.known(github_id):
            names |= {known.username, known.login.lower()}
        return names

    def others(self, github_id: int, name: str) -> list[int]:
        """Return the numbers of other accounts that have or had a name here."""
        return [holder for holder in self.holders(name) if holder != github_id]

    def username(self, github_id: int, login: str) -> str:
        """Return the name of an account's user: the one that it got at first, whatever its login is now.

        Raises:
            NameTakenError: the account never came before, and another has or had the name.
        """
        if known := self.known(github_id):
            return known.username
        if others := self.others(github_id, login):
            raise NameTakenError(login.lower(), others[0])
        return login.lower()

    def remember(self, github_id: int, username: str, login: str) -> None:
        """Store that an account has logged in as a user."""
        known = self.known(github_id)
        if known is None:
            known = Identity(github_id=github_id, username=username, login=login)
            self._db.add(known)
        known.last_login = datetime.now(UTC)
        self._saw(known, login)
        self._db.commit()

    def saw(self, github_id: int, login: str) -> None:
        """Store the login of an account that has logged in before; it may have changed since."""
        known = self.known(github_id)
        if known is not None and known.login != login:
            self._saw(known, login)
            self._db.commit()

    def _saw(self, known: Identity, login: str) -> None:
        for name in (known.username, known.login.lower(), login.lower()):
            self.had(known.github_id, name)
        known.login = login

    def had(self, github_id: int, name: str) -> None:
        """Note that a name is or was an account's; whoever calls commits."""
        self._db.merge(Name(name=name, github_id=github_id))

    def organization(self, name: str, github_id: int) -> int:
        """Return the number that an organization of a name had at first: this one, if none was seen yet."""
        known = self._db.get(Organization, name, populate_existing=True)
        if known is None:
            known = Organization(name=name, github_id=github_id)
            self._db.add(known)
            self._db.commit()
        return known.github_id

    def organizations(self) -> list[Organization]:
        """Return every organization that was seen, by name."""
        return list(self._db.scalars(select(Organization).order_by(Organization.name)))

    def forget_organization(self, name: str) -> None:
        """Let the next organization that is seen under a name be the one that is meant.

        Raises:
            KeyError: none was seen.
        """
        known = self._db.get(Organization, name.lower())
        if known is None:
            raise KeyError(name)
        self._db.delete(known)
        self._db.commit()

    def all(self) -> list[Identity]:
        """Return every account, by user name."""
        return list(self._db.scalars(select(Identity).order_by(Identity.username)))

    def forget(self, name: str, *, anyway: bool = False) -> None:
        """Give a name free: whoever logs in next with that login gets it, with its home.

        Args:
            name: a user, or a login that an account had.
            anyway: also if a known account has that login, which then has its rights (not its home) at once.

        Raises:
            KeyError: nobody has or had the name.
            TakenError: a known account has that login.
            InUseError: a server of that user runs.
        """
        name = name.lower()
        if not self.holders(name):
            raise KeyError(name)
        for each in self.all():
            if each.login.lower() == name != each.username and self.others(each.github_id, name) and not anyway:
                raise TakenError(each, name)
        if known := self.named(name):
            user = self._db.scalar(select(orm.User).where(orm.User.name == name))
            if user and any(spawner.server_id for spawner in user.orm_spawners.values()):
                raise InUseError(f"A server of {name} runs: stop it first")
            self._db.execute(delete(Name).where(Name.github_id == known.github_id))
            self._db.delete(known)
        self._db.execute(delete(Name).where(Name.name == name))
        for each in self._db.scalars(select(Identity).where(func.lower(Identity.login) == name)):
            # Its owner is seen under the login of then at the next login.
            each.login = each.username
        self._db.commit()


def _shown(identities: Identities, each: Identity) -> str:
    """Who holds which name: an account's others, and of its login whether another account has or had that."""
    earlier = sorted(identities.names(each.github_id) - {each.username, each.login.lower()})
    words = [f"also {name}" for name in earlier]
    if each.login.lower() != each.username and (others := identities.others(each.github_id, each.login)):
        words.append(f"rights of {each.login.lower()} are not given: it is or was number {others[0]}")
    return "; ".join(words)


def main() -> str | None:
    """List the accounts, or give a name free; a message if that is not possible (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible identity", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="accounts that have logged in: user, login, number, last login, other names")
    forget = commands.add_parser(
        "forget", help="give a name free: the next account of that login gets it, and the files"
    )
    forget.add_argument("user", help="a user, or a login that an account had, or an organization with a colon after it")
    forget.add_argument("--anyway", action="store_true", help="even if a known account has that login, and gets rights")
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
            print(f"{name} is free: the next organization of that name is the one that settings mean.")
            return None
        identities.forget(arguments.user, anyway=arguments.anyway)
    except KeyError:
        return f"No account that has logged in is or was called {arguments.user} here; see: list"
    except (InUseError, TakenError) as error:
        return str(error)
    print(f"{arguments.user} is free: the next GitHub account with that login gets the name and the files.")
    return None
