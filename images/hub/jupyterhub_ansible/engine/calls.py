"""Thread pools for calls of the Docker API: slow calls are separate from those that a start needs.

In a single pool, each hung stop would occupy a thread for seconds and each pull for minutes, until starts have none
left.
"""

from concurrent.futures import ThreadPoolExecutor

_QUICK = ThreadPoolExecutor(16, thread_name_prefix="docker")
# Docker gives a container 10 s to stop, and takes longer on a busy machine.
_STOPS = ThreadPoolExecutor(32, thread_name_prefix="docker-stop")
# A hung pull occupies its thread until Docker gives up; it cannot be cancelled.
_PULLS = ThreadPoolExecutor(32, thread_name_prefix="docker-pull")
# For as long as a program of an untrusted image runs (run_as).
_WAITS = ThreadPoolExecutor(2, thread_name_prefix="docker-wait")
# For pages: an engine that is slow to answer delays no start.
USAGE = ThreadPoolExecutor(2, thread_name_prefix="docker-usage")
# For as long as the engine walks through all homes.
HOMES = ThreadPoolExecutor(1, thread_name_prefix="docker-homes")
# For as long as a helper container runs (mounted_volumes); a second start of one volume waits for the first.
VOLUMES = ThreadPoolExecutor(8, thread_name_prefix="docker-volume")
ARCHIVES = ThreadPoolExecutor(2, thread_name_prefix="docker-archive")

_POOLS = {"stop": _STOPS, "remove_container": _STOPS, "remove_volume": _STOPS, "pull": _PULLS, "wait": _WAITS}

CONNECTIONS = 64
"""Connections of docker.APIClient; with fewer, calls of further threads would each open a temporary one."""


def threads(method: str) -> ThreadPoolExecutor:
    """Return the pool in which to call this method of docker.APIClient."""
    return _POOLS.get(method, _QUICK)
