"""Login attempts are throttled, and nobody is locked out everywhere."""

import ipaddress

import pytest
from fake_clock import Clock
from jupyterhub_ansible.auth import throttle
from jupyterhub_ansible.auth.throttle import ADDRESS, NAME, PAIR, RUNNING, LoginThrottle, TooManyAttemptsError

HOME, OFFICE, EVIL = "192.0.2.1", "198.51.100.1", "203.0.113.1"


@pytest.fixture
def book(clock: Clock) -> LoginThrottle:
    return LoginThrottle(clock)


def tried(book: LoginThrottle, address: str, name: str, times: int = 1, right: bool = False) -> int:
    """Return how many of so many attempts are allowed."""
    count = 0
    for _ in range(times):
        try:
            guess = book.begin(address, name)
        except TooManyAttemptsError:
            continue
        count += 1
        if right:
            guess.succeeded()
        else:
            guess.failed()
    return count


def test_after_a_burst_attempts_for_a_name_come_one_by_one(book: LoginThrottle, clock: Clock) -> None:
    assert tried(book, EVIL, "ann", times=60) == PAIR.burst
    with pytest.raises(TooManyAttemptsError) as refused:
        book.begin(EVIL, "ann")
    assert refused.value.status_code == 429
    assert refused.value.headers == {"Retry-After": str(PAIR.seconds)}
    assert refused.value.jupyterhub_message == f"Too many failed logins. Please try again in {PAIR.seconds} seconds."
    # Refused attempts do not count.
    clock.now += PAIR.seconds
    assert tried(book, EVIL, "ann", times=60) == 1
    clock.now += PAIR.seconds * PAIR.burst
    assert tried(book, EVIL, "ann", times=60) == PAIR.burst


@pytest.mark.parametrize("name", ["Ann", " ann ", "ANN"])
def test_a_name_is_the_same_in_any_case(book: LoginThrottle, name: str) -> None:
    tried(book, EVIL, "ann", times=60)
    assert tried(book, EVIL, name) == 0


def test_right_password_works_from_another_address(book: LoginThrottle) -> None:
    tried(book, EVIL, "ann", times=60)
    assert tried(book, HOME, "ann", right=True) == 1


def test_even_under_a_distributed_attack(book: LoginThrottle) -> None:
    """Then each address has a burst of one."""
    for number in range(NAME.burst):
        tried(book, str(ipaddress.ip_address("10.0.0.1") + number), "ann")
    assert tried(book, EVIL, "ann", times=60) == 1
    assert tried(book, EVIL, "bob", times=60) == PAIR.burst
    assert tried(book, HOME, "ann", right=True) == 1


def test_known_address_keeps_its_burst_under_a_distributed_attack(book: LoginThrottle) -> None:
    tried(book, HOME, "ann", right=True)
    for number in range(NAME.burst):
        tried(book, str(ipaddress.ip_address("10.0.0.1") + number), "ann")
    assert tried(book, HOME, "ann", times=60) == PAIR.burst


def test_an_address_that_tries_many_names(book: LoginThrottle, clock: Clock) -> None:
    assert sum(tried(book, OFFICE, f"user{number}") for number in range(200)) == ADDRESS.burst
    clock.now += ADDRESS.seconds
    assert sum(tried(book, OFFICE, f"user{number}") for number in range(200)) == 1
    assert tried(book, HOME, "user1") == 1


def test_colleagues_at_an_attackers_address(book: LoginThrottle) -> None:
    """Names that logged in from there before are not delayed by others there."""
    tried(book, OFFICE, "ann", right=True)
    for number in range(200):
        tried(book, OFFICE, f"user{number}")
    assert tried(book, OFFICE, "ann", right=True) == 1
    # From other addresses, all can log in, even the attacked user.
    assert tried(book, OFFICE, "bob", right=True) == 0
    assert tried(book, HOME, "bob", right=True) == 1
    tried(book, OFFICE, "ann", times=60)
    assert tried(book, OFFICE, "ann", right=True) == 0
    assert tried(book, HOME, "ann", right=True) == 1


def test_logins_that_succeed_do_not_count(book: LoginThrottle) -> None:
    assert sum(tried(book, OFFICE, f"user{number}", right=True) for number in range(200)) == 200
    assert tried(book, HOME, "ann", times=100, right=True) == 100
    # A success clears the failures before it.
    tried(book, HOME, "ann", times=PAIR.burst - 1)
    tried(book, HOME, "ann", right=True)
    assert tried(book, HOME, "ann", times=60) == PAIR.burst


def test_inconclusive_attempt_does_not_count(book: LoginThrottle) -> None:
    for _ in range(60):
        book.begin(HOME, "ann").undo()
    assert tried(book, HOME, "ann", times=60) == PAIR.burst


def test_attempts_under_way_are_not_failures(book: LoginThrottle) -> None:
    """A whole class logs in at the same time, slowly."""
    tries = [book.begin(OFFICE, f"user{number}") for number in range(RUNNING)]
    with pytest.raises(TooManyAttemptsError):
        book.begin(OFFICE, "late")
    for guess in tries:
        guess.succeeded()
    assert tried(book, OFFICE, "late", right=True) == 1
    assert not book.running


def test_concurrent_attempts_all_count(book: LoginThrottle, clock: Clock) -> None:
    for guess in [book.begin(EVIL, f"user{number}") for number in range(RUNNING)]:
        guess.failed()
    clock.now += (RUNNING - ADDRESS.burst) * ADDRESS.seconds
    assert tried(book, EVIL, "ann") == 0
    clock.now += ADDRESS.seconds
    assert tried(book, EVIL, "ann", times=60) == 1


@pytest.mark.parametrize("name", ["", " "])
def test_form_without_a_name_counts_by_address(book: LoginThrottle, name: str) -> None:
    for number in range(2 * NAME.burst):
        tried(book, str(ipaddress.ip_address("10.0.0.1") + number), name)
    for guess in [book.begin(OFFICE, name) for _ in range(2 * PAIR.burst)]:
        guess.succeeded()
    assert tried(book, EVIL, name, times=60) == ADDRESS.burst
    assert tried(book, OFFICE, name, times=60) == ADDRESS.burst


@pytest.mark.parametrize(
    ("one", "other"), [("2001:db8::1", "2001:db8::ffff:1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("nonsense", "nonsense")]
)
def test_what_is_one_client(book: LoginThrottle, one: str, other: str) -> None:
    tried(book, one, "ann", times=60)
    assert tried(book, other, "ann") == 0


def test_tables_are_limited(book: LoginThrottle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST", 10)
    for number in range(100):
        book.begin(f"192.0.2.{number}", f"user{number}" * 1000).succeeded()
        tried(book, f"198.51.100.{number}", f"user{number}" * 1000)
    assert [len(table) for table in (book.pairs, book.addresses, book.names, book._known)] == [10, 10, 10, 10]
    assert all(len(key) <= 16 for key in book._known)
