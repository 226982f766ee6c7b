"""What users wrote, as the log and pages have it."""

import logging
import sys

import pytest
from jupyterhub_ansible import clean
from jupyterhub_ansible.app import JupyterHub

TERMINAL = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202etxt.exe\u2028 \x00\r[I 2026-11-27 00:00:00.000 JupyterHub] forged"


def test_text_that_is_harmless_stays() -> None:
    text = "Grüße, 日本語, 👍 (alice@10.0.0.1) 1.5 %"
    assert clean.one_line(text) == text
    assert clean.lines(f"a\r\n{text}\n\n\tb", 10) == f"a\n{text}\n\n    b"


def test_control_characters_are_written_out() -> None:
    assert clean.one_line(TERMINAL).isprintable()
    assert clean.one_line("\x1b[31m\ud800\n") == "\\x1b[31m\\ud800\\n"


def test_long_lines_and_many_lines_are_cut() -> None:
    assert clean.one_line("x" * 2_000_000) == "x" * 1000 + "... (2000000 characters)"
    assert clean.lines("\n".join("abcde"), 2) == "a\nb\n... (3 lines)"
    assert clean.lines("\n".join("abcde"), 2, last=True) == "... (3 lines)\nd\ne"


def logged(message: str, *args: object, exc_info: object = None) -> str:
    formatter = JupyterHub._log_formatter_cls(fmt="%(color)s[%(name)s]%(end_color)s %(message)s")
    record = logging.LogRecord("JupyterHub", logging.INFO, __file__, 1, message, args, exc_info)  # type: ignore[arg-type]
    text: str = formatter.format(record)
    # Others who format it see it as it was.
    assert (record.msg, record.args) == (message, args)
    return text


@pytest.mark.parametrize("message", ["Failed login for %s", "%s ended. Its last lines:\n%s"])
def test_whatever_is_logged_is_clean(message: str) -> None:
    line = logged(message, *[TERMINAL + "x" * 200_000] * message.count("%s"))
    assert all(each.isprintable() for each in line.split("\n"))
    assert len(line) < 3_000


def test_nobody_forges_a_line() -> None:
    # One that goes on is indented, as tornado does it.
    assert (
        logged("Failed login for %s", "a\n[JupyterHub] forged")
        == "[JupyterHub] Failed login for a\n    [JupyterHub] forged"
    )


def test_tracebacks_are_whole_and_clean() -> None:
    try:
        raise ValueError(TERMINAL + "x" * 200_000)
    except ValueError:
        text = logged("Uncaught", exc_info=sys.exc_info())
    assert "Traceback (most recent call last):" in text
    assert "test_hub_clean.py" in text
    assert all(each.isprintable() for each in text.split("\n"))
    assert len(text) < 5_000


def test_a_message_without_its_arguments_is_logged_all_the_same() -> None:
    assert logged("%s and %s", "\x1b") == "[JupyterHub] Bad message: '%s and %s' ('\\x1b',)"
