"""Errors of users' servers: why one did not start, or ended; in plain words for its user, with details for the log."""

from collections.abc import Mapping
from typing import Any

from jupyterhub.spawner import SpawnException

from .. import clean
from ..engine.errors import is_unanswered

TELL = "Please tell the administrator."

_FULL = ("no space left on device", "disk quota exceeded")
_FULL_MESSAGE = "There is no room left for your files: your home, or the machine's disk, is full."
# Exit code of a process killed by SIGKILL.
_KILLED = 137

SILENT = "never opened its port"
FAILING = "answers with errors only"
ANOTHER = "never proved that it is the server that was started"
"""Why the wait for a server was given up (`no_answer`)."""

LESS_MEMORY = (
    "What it held in memory is lost; your files are not. Start it again, and load less data at a time or run fewer"
    " notebooks at once; or choose a larger size, if there is one."
)
"""What a user can do whose server ran out of memory (and whose kernel did: jupyterhub-idle/static/notice.js)."""

REMOVED = "Its container was removed."
"""Why a server ended whose container is gone (see `why_ended`)."""


class SpawnError(SpawnException):
    """A server cannot start: the message is for its user, `log_message` for the administrator.

    The status is 503 unless the request itself is wrong: for 500, JupyterHub logs the request's headers.
    """

    def __init__(self, message: str, *, reason: str, log_message: str = "", status_code: int = 503) -> None:
        super().__init__(message, reason=reason, log_message=log_message, status_code=status_code)
        # The spawn form and the progress page show this (jupyterhub.utils.format_exception).
        self.jupyterhub_message = message


def missing_image(server: str, image: str) -> SpawnError:
    """The image does not exist on the machine, nor, if it may be pulled, in its registry."""
    return SpawnError(
        f"This environment is not installed on the machine. {TELL}",
        reason="image",
        log_message=f"{server}: image {image} is missing; deploy again",
    )


def wrong_user(user: str, uid: int | None, where: str, server: str, named: str) -> SpawnError:
    """A server would run as root, or as an unknown user.

    Args:
        user: as configured.
        uid: the uid of that user; None if it could not be determined.
        where: where the user is configured, for the log.
        server: names the server in the log.
        named: the image, if the user chose it freely.
    """
    problem = f"runs as root ({user or 'it has no USER'})" if uid == 0 else f"has a user of unknown number ({user})"
    fix = "the number of an ordinary user, as USER 1000 at the end of its Dockerfile"
    return SpawnError(
        f"The image {named} {problem}. Servers here run as ordinary users: give it {fix}."
        if named
        else f"This environment cannot be used: it would not run as an ordinary user. {TELL}",
        reason="root",
        log_message=f"{server}: {where} {problem}; give it {fix}",
        status_code=400 if named else 503,
    )


def pull_failed(error: Exception, server: str, image: str, named: bool) -> SpawnError:
    """An image could not be pulled; the registry's message is shown to a user who chose the image freely (`named`)."""
    failed = docker_failed(error, server)
    if failed.reason != "docker":
        return failed
    # Untrusted: the registry may be the user's choice.
    explanation = clean.one_line(str(getattr(error, "explanation", None) or error))
    return SpawnError(
        f"The image {image} could not be pulled: {explanation}."
        if named
        else f"This environment could not be fetched. {TELL}",
        reason="image",
        log_message=f"{server}: {image} could not be pulled: {explanation}",
    )


def pull_timed_out(seconds: int, server: str, image: str) -> SpawnError:
    """Pulling an image took too long."""
    return SpawnError(
        f"The image {image} was not here after {seconds // 60} minutes. Please try again later.",
        reason="image",
        log_message=f"{server}: pulling {image} was given up after {seconds} s",
    )


def unexpected(error: Exception, server: str) -> SpawnError:
    """Any other error."""
    return SpawnError(
        f"Your server could not be started. {TELL}",
        reason="unknown",
        log_message=f"{server}: {type(error).__name__}: {error}",
    )


def docker_failed(error: Exception, server: str) -> SpawnError:
    """Docker refused a call, or did not answer."""
    if is_unanswered(error):
        return SpawnError(
            f"Docker, which runs all servers of this machine, does not answer. {TELL}",
            reason="docker-down",
            log_message=f"{server}: Docker does not answer: {error}",
        )
    explanation = str(getattr(error, "explanation", None) or error)
    log_message = f"{server}: {explanation}"
    if any(words in explanation.lower() for words in _FULL):
        return SpawnError(f"{_FULL_MESSAGE} {TELL}", reason="disk", log_message=log_message)
    return SpawnError(f"Docker could not start your server. {TELL}", reason="docker", log_message=log_message)


def ended_early(state: Mapping[str, Any], lines: str, memory: int | None, server: str) -> SpawnError:
    """A container ended while its server was starting.

    Args:
        state: `State` of the container, as from `inspect_container`.
        lines: the last lines of its log.
        memory: its limit, in bytes.
        server: names the server in the log.
    """
    log_message = f"{server} ended while starting: {status(state)}. Its last lines:\n{lines}"
    if state.get("OOMKilled"):
        limit = f" of {memory // 1024**2} MB" if memory else ""
        return SpawnError(
            f"Your server ran out of memory while it was starting: its limit{limit} is too small. {TELL}",
            reason="out-of-memory",
            log_message=log_message,
        )
    if state["ExitCode"] == _KILLED:
        # Some engines do not set OOMKilled; otherwise it was the ceiling of all servers, or `docker kill`.
        limit = f" Its limit is {memory // 1024**2} MB." if memory else ""
        return SpawnError(
            f"Your server was killed, or ran out of memory while it was starting.{limit} {TELL}",
            reason="killed",
            log_message=log_message,
        )
    if any(words in lines.lower() for words in _FULL):
        return SpawnError(f"{_FULL_MESSAGE} {TELL}", reason="disk", log_message=log_message)
    return SpawnError(f"Your server ended while it was starting. {TELL}", reason="ended", log_message=log_message)


def container_removed(server: str) -> SpawnError:
    """The container of a starting server was removed by somebody else."""
    return SpawnError(
        "The container of your server was removed while it was starting. Please try again.",
        reason="vanished",
        log_message=f"{server}: its container was removed by somebody else while it was starting",
    )


def no_answer(seconds: int, what: str, url: str, lines: str, server: str) -> SpawnError:
    """The container runs, but its server did not answer properly; `what` it did instead."""
    return SpawnError(
        f"Your server was started, but {what}: it was given up after {seconds} seconds. Please try again;"
        " if that does not help, tell the administrator.",
        reason="no-answer",
        log_message=f"{server} {what} ({url}), within {seconds} s. Its last lines:\n{lines}",
    )


def waiting_for_address(place: int, length: int) -> str:
    """Progress message for a user whose server waits for an address."""
    position = f" You are number {place} of {length}." if length > 1 else ""
    return f"All addresses for servers are in use.{position} Your server starts when one is free."


def no_address(seconds: int, server: str, network: str) -> SpawnError:
    """No address on the users' network became free in time."""
    return SpawnError(
        f"All addresses for servers are in use, and none became free in time. Please try again later. {TELL}",
        reason="no-address",
        log_message=f"{server} waited {seconds} s for an address in vain: all of the network {network} are in use, were"
        " in use a few minutes ago, or belong to other containers; enlarge the users' network",
    )


def no_proxy(error: Exception, server: str) -> SpawnError:
    """The proxy's routes, and so the addresses in use, cannot be fetched."""
    return SpawnError(
        f"The proxy, which leads to all servers, does not answer. {TELL}",
        reason="proxy",
        log_message=f"{server}: cannot fetch the proxy's routes: {type(error).__name__}: {error}",
    )


def why_ended(state: Mapping[str, Any], memory: int) -> str:
    """Return why a running server ended, for its user.

    Args:
        state: `State` of the container, as from `inspect_container`.
        memory: its limit, in bytes; 0 for none.
    """
    code = int(state["ExitCode"])
    limit = f": its limit is {memory // 1024**2} MB" if memory else ""
    if code == 0:
        return "It was shut down, as File > Shut Down in JupyterLab does."
    # Both conditions, because OOMKilled stays set once any process of the container, such as a kernel, met the limit.
    if code == _KILLED and state.get("OOMKilled"):
        return f"It ran out of memory{limit}. {LESS_MEMORY}"
    if code == _KILLED:
        return "It was killed: by somebody, or because there was no memory left on the machine."
    return f"It ended with an error (exit code {code})."


def status(state: Mapping[str, Any]) -> str:
    """Return how a container ended, in DockerSpawner's format."""
    killed = ", OOMKilled" if state.get("OOMKilled") else ""
    return "ExitCode={ExitCode}, Error='{Error}', FinishedAt={FinishedAt}".format(**state) + killed
