"""Threads for calls of the Docker API: what may take long waits apart from what a start needs.

One pool for all does not do: each hung stop holds a thread for seconds, each pull for minutes, and with the pool's
last thread everybody's start stands still.
"""

from concurrent.futures import ThreadPoolExecutor

_QUICK = ThreadPoolExecutor(16, thread_name_prefix="docker")
# Docker gives a container 10 s to end by itself, and takes longer on a machine that is busy.
_STOPS = ThreadPoolExecutor(32, thread_name_prefix="docker-stop")
# One that stands still holds its thread until Docker gives up; nobody can end it.
_PULLS = ThreadPoolExecutor(32, thread_name_prefix="docker-pull")
# As long as a program of an image that anybody may name likes to run (run_as).
_WAITS = ThreadPoolExecutor(2, thread_name_prefix="docker-wait")
ARCHIVES = ThreadPoolExecutor(2, thread_name_prefix="docker-archive")

_POOLS = {"stop": _STOPS, "remove_container": _STOPS, "remove_volume": _STOPS, "pull": _PULLS, "wait": _WAITS}

CONNECTIONS = 64
"""To Docker at once; with fewer, each call of a further thread would make and drop one (docker.APIClient)."""


def threads(method: str) -> ThreadPoolExecutor:
    """Return the pool in which to call this method of docker.APIClient."""
    return _POOLS.get(method, _QUICK)
