"""Finds jobs in terminals and background computations among the container's processes, from /proc."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SHELLS = {"ash", "bash", "dash", "fish", "ksh", "sh", "tcsh", "xonsh", "zsh"}
"""A nested shell is not a job, but what it runs is; what it computes itself shows as processor time."""
WINDOWS = {"tmux: client", "tmux: server", "screen"}
"""Terminal multiplexers: not jobs themselves, but their terminals may have some."""


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
    """Yield all processes; threads are not listed separately."""
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                yield _parsed((folder / "stat").read_text(errors="replace"))
            except OSError:
                continue  # it ended meanwhile


def sessions_with_a_job(found: Iterable[Process]) -> set[int]:
    """Return the ids of terminal sessions with running jobs, in the foreground or background.

    A session's id is the pid of its first process, the terminal's shell.  Stopped jobs (Ctrl-Z) do not count.
    """
    return {
        each.session
        for each in found
        if each.terminal and each.state not in "TZ" and each.command not in SHELLS | WINDOWS
    }


def computed_s(found: Iterable[Process], before: Mapping[int, int], besides: int) -> float:
    """Return the processor seconds that all processes but `besides` used since `before` ({pid: ticks})."""
    return sum(each.ticks - before.get(each.pid, 0) for each in found if each.pid != besides) / TICKS_PER_S
