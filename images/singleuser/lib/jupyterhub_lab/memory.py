"""Tells JupyterLab when a kernel died because the server's memory was exhausted.

JupyterLab itself says only that the kernel "appears to have died".
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

EVENT = "https://events.jupyter.org/jupyterhub_lab/out_of_memory/v1"
"""Jupyter's event that reports it; labextensions/jupyterhub-idle shows it."""
SCHEMA = {
    "$id": EVENT,
    "version": "1",
    "title": "A kernel ran out of memory",
    "description": "The kernel was killed because the memory of the server was exhausted.",
    "personal-data": False,
    "type": "object",
    "required": ["kernel_id", "limit_mb"],
    "properties": {
        "kernel_id": {"type": "string"},
        "limit_mb": {"type": "integer", "description": "The server's limit in MiB; 0 for none"},
    },
}
COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
"""Of cgroup v2 and v1: a line `oom_kill N`, the number of the container's processes that were killed so far."""
_SIGKILL = (-9, 137)
"""Exit status of a killed process, and of a shell whose last command was."""


def kills(counters: tuple[Path, ...] = COUNTERS) -> int:
    """Return how many processes of this container were killed for memory; 0 if unknown."""
    for path in counters:
        try:
            found = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
            return int(found["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0


class Watch:
    """Looks at every kernel that dies, before Jupyter restarts it."""

    def __init__(self, kernels: Any, events: Any, environ: Mapping[str, str], count: Callable[[], int] = kills) -> None:
        self._kernels = kernels
        self._events = events
        self._count = count
        self._limit_mb = int(environ.get("MEM_LIMIT") or 0) // 1024**2
        # By kernel, because several may die at once.
        self._before: dict[str, int] = {}

    def install(self) -> None:
        """Watch all kernels from their start on."""
        self._events.register_event_schema(SCHEMA)
        start = self._kernels.start_kernel

        async def start_kernel(*args: Any, **kwargs: Any) -> str:
            kernel_id = str(await start(*args, **kwargs))
            if kernel_id not in self._before:
                self._before[kernel_id] = self._count()
                for event in ("restart", "dead"):
                    self._kernels.add_restart_callback(kernel_id, partial(self.died, kernel_id), event)
            return kernel_id

        self._kernels.start_kernel = start_kernel

    def died(self, kernel_id: str) -> None:
        """Report that a kernel died, if it was for memory."""
        before, self._before[kernel_id] = self._before.get(kernel_id, 0), self._count()
        process = getattr(self._kernels.get_kernel(kernel_id).provisioner, "process", None)
        if self._before[kernel_id] > before and getattr(process, "returncode", None) in _SIGKILL:
            self._events.emit(schema_id=EVENT, data={"kernel_id": kernel_id, "limit_mb": self._limit_mb})
