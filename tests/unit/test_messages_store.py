"""Messages of administrators: to whom, for how long, and who learns of them when."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub_ansible.messages.store import LONGEST, MOST, MessageError, Messages
from sqlalchemy import text


class Clock:
    now = datetime(2026, 1, 1)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    session = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    yield session
    session.close()


def texts(messages: Messages, username: str) -> list[str]:
    return [each.text for each in messages.of(username)]


def test_message_is_for_one_or_all_and_ends(db: Any) -> None:
    clock = Clock()
    messages = Messages(db, clock)
    messages.send("The machine restarts\n at noon.", None, "olga", 3600)
    made = messages.send("Your disk is full.", "ann", "olga", 60)
    assert texts(messages, "ann") == ["The machine restarts at noon.", "Your disk is full."]
    assert texts(messages, "ben") == ["The machine restarts at noon."]
    # Another Hub takes them over.
    assert texts(Messages(db, clock), "ann") == texts(messages, "ann")
    clock.now += timedelta(seconds=61)
    assert texts(messages, "ann") == ["The machine restarts at noon."]
    messages.remove(made.id)
    messages.remove(messages.all()[0].id)
    assert messages.all() == []
    assert messages.send("Once more.", None, "olga", 60).id > made.id, "an open page may have dismissed the last one"


@pytest.mark.parametrize("text", ["", " \n", "x" * (LONGEST + 1)])
def test_empty_and_long_messages_are_refused(db: Any, text: str) -> None:
    with pytest.raises(MessageError, match=f"1 to {LONGEST} characters"):
        Messages(db).send(text, None, "olga", 60)


def test_messages_are_limited(db: Any) -> None:
    clock = Clock()
    messages = Messages(db, clock)
    for number in range(MOST):
        messages.send(str(number), None, "olga", 60)
    with pytest.raises(MessageError, match="remove one first"):
        messages.send("one more", None, "olga", 60)
    clock.now += timedelta(seconds=61)
    messages.send("one more", None, "olga", 60)
    assert [each.text for each in messages.all()] == ["one more"]


def test_change_ends_waiting(db: Any) -> None:
    messages = Messages(db)

    async def waits(send: bool) -> float:
        loop = asyncio.get_running_loop()
        began, waiting = loop.time(), messages.changed(5 if send else 0.05)
        if send:
            # Between the look and the wait.
            messages.send("now", None, "olga", 60)
        await waiting
        return loop.time() - began

    assert asyncio.run(waits(send=True)) < 1
    assert asyncio.run(waits(send=False)) >= 0.05


def test_notices_of_the_hub_do_not_take_the_place_of_messages(db: Any) -> None:
    clock = Clock()
    messages = Messages(db, clock)
    numbers = messages.notify({f"user{number}" for number in range(2 * MOST)}, "It stops.", 60)
    messages.send("Hello", None, "olga", 3600)
    assert texts(messages, "user3") == ["It stops.", "Hello"]
    messages.remove(*numbers[:-1])
    assert sum(each.text == "It stops." for each in messages.all()) == 1
    clock.now += timedelta(seconds=61)
    messages.notify({"ann"}, "Another one.", 60)
    assert {each[0] for each in db.execute(text("SELECT text FROM jupyterhub_ansible_messages"))} == {
        "Hello",
        "Another one.",
    }
