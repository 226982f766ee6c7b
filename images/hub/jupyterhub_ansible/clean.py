"""What users and the world wrote, before it gets into the log or on a page: without control characters, and cut."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import copy
import logging

from jupyterhub.log import CoroutineLogFormatter

LINE = 1_000
"""Characters of a line."""
MESSAGE_LINES, TRACEBACK_LINES = 100, 300


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    # Also those that turn the direction of writing; a lone surrogate is none that can be written.
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text
    )


def one_line(text: str, longest: int = LINE) -> str:
    """Return it as one line of so many characters at most; control characters as they are written in Python."""
    # Cut first: to escape 2 MB takes its time.
    cut = f"... ({len(text)} characters)" if len(text) > longest else ""
    return _escaped(text[:longest].replace("\t", "    ")) + cut


def lines(text: str, most: int, *, last: bool = False) -> str:
    """Return its first (or last) lines, each as `one_line`."""
    # Only "\n" ends one: whatever else does is escaped.
    all_lines = text.replace("\r\n", "\n").split("\n")
    left_out = max(len(all_lines) - most, 0)
    kept = [one_line(each) for each in (all_lines[left_out:] if last else all_lines[:most])]
    if left_out:
        kept.insert(0 if last else len(kept), f"... ({left_out} lines)")
    return "\n".join(kept)


class CleanLogFormatter(CoroutineLogFormatter):
    """JupyterHub's, for a log that nobody can fill with one message or fool a terminal with."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as it is logged."""
        ours = copy.copy(record)
        try:
            ours.msg, ours.args = lines(record.getMessage(), MESSAGE_LINES), None
        except Exception:
            # A message that does not go with its arguments: tornado logs that, and both.
            ours.args = None
            ours.msg = lines(f"Bad message: {record.msg!r} {record.args!r}", MESSAGE_LINES)
        if record.exc_info:
            ours.exc_text = lines(self.formatException(record.exc_info), TRACEBACK_LINES, last=True)
        return str(super().format(ours))
