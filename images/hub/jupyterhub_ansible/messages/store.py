"""The messages, in the Hub's database, and waiting for a change of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import DateTime, Unicode, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

LONGEST = 500
"""Characters of a message."""
MOST = 20
"""Messages of administrators that have not ended."""
HUB = "the Hub"
"""The sender of messages that nobody wrote."""


class MessageError(ValueError):
    """The message cannot be sent; `str()` says why."""


class _Base(DeclarativeBase):
    pass


class Message(_Base):
    """A message, to one user or to all."""

    __tablename__ = "jupyterhub_ansible_messages"
    # No number twice: a page that has dismissed one would not show the other.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Unicode(LONGEST))
    username: Mapped[str | None] = mapped_column(Unicode(255), default=None)
    """To whom; None for everybody."""
    sender: Mapped[str] = mapped_column(Unicode(255))
    # Naive UTC, as JupyterHub stores times.
    ends: Mapped[datetime] = mapped_column(DateTime)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


async def _wait(changed: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await changed.wait()
    except TimeoutError:
        return


class Messages:
    """All messages that have not ended.

    Args:
        db: a session of the Hub's database.
        clock: the time, as naive UTC.
    """

    def __init__(self, db: Session, clock: Callable[[], datetime] = _now) -> None:
        self._db, self._clock = db, clock
        _Base.metadata.create_all(db.get_bind())
        self._changed = asyncio.Event()

    def send(self, text: str, username: str | None, sender: str, lasts_s: int) -> Message:
        """Send a message for so many seconds, to one user or to all.

        Raises:
            MessageError: it is empty or too long, or there are too many.
        """
        text = " ".join(text.split())
        if not text or len(text) > LONGEST:
            raise MessageError(f"A message has 1 to {LONGEST} characters; this one has {len(text)}.")
        self._remove_ended()
        if sum(each.sender != HUB for each in self.all()) >= MOST:
            raise MessageError(f"There are {MOST} messages already: remove one first.")
        ends = self._clock() + timedelta(seconds=lasts_s)
        self._db.add(made := Message(text=text, username=username, sender=sender, ends=ends))
        self._db.commit()
        self._tell()
        return made

    def notify(self, usernames: Iterable[str], text: str, lasts_s: int) -> list[int]:
        """Send a message of the Hub's own to each of these users, however many messages there are; return the ids.

        Raises:
            SQLAlchemyError: it cannot be stored; nothing was changed.
        """
        ends = self._clock() + timedelta(seconds=lasts_s)
        made = [Message(text=text[:LONGEST], username=each, sender=HUB, ends=ends) for each in sorted(usernames)]
        try:
            self._remove_ended()
            self._db.add_all(made)
            self._db.commit()
        except SQLAlchemyError:
            self._db.rollback()
            raise
        self._tell()
        return [each.id for each in made]

    def _remove_ended(self) -> None:
        self._db.execute(delete(Message).where(Message.ends <= self._clock()))

    def remove(self, *numbers: int) -> None:
        """Remove messages, if they are there."""
        try:
            self._db.execute(delete(Message).where(Message.id.in_(numbers)))
            self._db.commit()
        except SQLAlchemyError:
            self._db.rollback()
            raise
        self._tell()

    def all(self) -> list[Message]:
        """Return the messages that have not ended, oldest first."""
        return list(self._db.scalars(select(Message).where(Message.ends > self._clock()).order_by(Message.id)))

    def of(self, username: str) -> list[Message]:
        """Return the messages for a user, oldest first."""
        return [each for each in self.all() if each.username in (None, username)]

    def changed(self, timeout_s: float) -> Awaitable[None]:
        """Return what waits until a message is sent or removed from now on, or the time is over."""
        # The event of now: the next message has another one.
        return _wait(self._changed, timeout_s)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
