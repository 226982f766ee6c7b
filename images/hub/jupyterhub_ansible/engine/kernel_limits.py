"""What all users' servers share of the kernel, which counts it per user id or for the whole machine.

Out of the way, these limits leave the servers' memory limits to end what takes too much: what each one costs is memory
of the server that took it.  The playbook raises them where the engine is its own (docker_engine.py of the role docker,
with what each costs); a Hub in a container can but look.
"""

from pathlib import Path

_INT, _LONG = 2**31 - 1, 2**63 - 1
LIMITS = {
    "fs.aio-max-nr": _LONG,
    "fs.epoll.max_user_watches": _LONG,
    "fs.file-max": _LONG,
    "fs.inotify.max_user_instances": _INT,
    "fs.inotify.max_user_watches": _INT,
    # None.
    "fs.pipe-user-pages-soft": 0,
    "kernel.pty.max": 2**20,
}


def low(folder: Path = Path("/proc/sys")) -> list[str]:
    """Return lines for sysctl that would raise what is lower now; nothing of what this kernel does not have."""
    lines = []
    for name, wanted in LIMITS.items():
        try:
            now = int((folder / name.replace(".", "/")).read_text())
        except (OSError, ValueError):
            continue
        if now < wanted or (now and not wanted):
            lines.append(f"{name} = {wanted}")
    return lines
