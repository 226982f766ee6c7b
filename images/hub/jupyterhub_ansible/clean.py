"""Sanitizes untrusted text for the log and for pages: no control characters, limited length."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import copy
import logging

from jupyterhub.log import CoroutineLogFormatter

LINE = 1_000
"""Maximum characters of a line."""
MESSAGE_LINES, TRACEBACK_LINES = 100, 300


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    # Including characters that change the writing direction, and lone surrogates, which cannot be encoded.
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text
    )


def one_line(text: str, longest: int = LINE) -> str:
    """Return text as one line of limited length, with control characters escaped as in Python."""
    # Cut first: escaping 2 MB is slow.
    cut = f"... ({len(text)} characters)" if len(text) > longest else ""
    return _escaped(text[:longest].replace("\t", "    ")) + cut


def lines(text: str, most: int, *, last: bool = False) -> str:
    """Return the first (or last) lines of text, each as by `one_line`."""
    # Only "\n" separates lines: other separators are escaped.
    all_lines = text.replace("\r\n", "\n").split("\n")
    left_out = max(len(all_lines) - most, 0)
    kept = [one_line(each) for each in (all_lines[left_out:] if last else all_lines[:most])]
    if left_out:
        kept.insert(0 if last else len(kept), f"... ({left_out} lines)")
    return "\n".join(kept)


class CleanLogFormatter(CoroutineLogFormatter):
    """JupyterHub's formatter, with limited lengths and without terminal control sequences."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record, sanitized."""
        ours = copy.copy(record)
        try:
            ours.msg, ours.args = lines(record.getMessage(), MESSAGE_LINES), None
        except Exception:
            # Message and arguments do not match: show both, as tornado does.
            ours.args = None
            ours.msg = lines(f"Bad message: {record.msg!r} {record.args!r}", MESSAGE_LINES)
        if record.exc_info:
            ours.exc_text = lines(self.formatException(record.exc_info), TRACEBACK_LINES, last=True)
        return str(super().format(ours))
