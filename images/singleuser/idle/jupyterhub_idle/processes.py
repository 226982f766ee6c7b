"""What the processes of the container do, from /proc: jobs in terminals, and what computes unseen."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SHELLS = {"ash", "bash", "dash", "fish", "ksh", "sh", "tcsh", "xonsh", "zsh"}
"""A shell in a shell is no job: what it runs is, and what it computes itself costs processor time."""
WINDOWS = {"tmux: client", "tmux: server", "screen"}
"""These only hold terminals, in which there may be jobs."""


class Process(NamedTuple):
    """A process of the container; `ticks` is its processor time so far, in ticks of `TICKS_PER_S`."""

    pid: int
    command: str
    state: str
    session: int
    terminal: int
    ticks: int


def _parsed(stat: str) -> Process:
    """https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html; a command may hold blanks and parentheses."""
    pid, _, rest = stat.partition(" (")
    command, _, rest = rest.rpartition(") ")
    fields = rest.split()
    session, terminal, user, system = (int(fields[number]) for number in (3, 4, 11, 12))
    return Process(int(pid), command, fields[0], session, terminal, user + system)


def processes(proc: Path = PROC) -> Iterator[Process]:
    """Yield all that live, threads not apart."""
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                yield _parsed((folder / "stat").read_text(errors="replace"))
            except OSError:
                continue  # it ended meanwhile


def sessions_with_a_job(found: Iterable[Process]) -> set[int]:
    """Return the terminals' sessions in which something runs beside shells, in the foreground or not.

    A session is called by the number of its first process, a terminal's shell.  A job that was stopped (Ctrl-Z)
    does not run.
    """
    return {
        each.session
        for each in found
        if each.terminal and each.state not in "TZ" and each.command not in SHELLS | WINDOWS
    }


def computed_s(found: Iterable[Process], before: Mapping[int, int], besides: int) -> float:
    """Return the processor seconds that all processes but `besides` used since `before` ({pid: ticks})."""
    return sum(each.ticks - before.get(each.pid, 0) for each in found if each.pid != besides) / TICKS_PER_S
