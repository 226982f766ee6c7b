"""Why a server did not start: in plain words for its user, with all details for the administrator's log."""

from collections.abc import Mapping
from typing import Any

from docker.errors import APIError, DockerException
from jupyterhub.spawner import SpawnException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError as TransportError

from .. import clean

TELL = "Please tell the administrator."
DOCKER_ERRORS = (DockerException, RequestException, TransportError)
"""What a call of docker.APIClient raises: refused by Docker (APIError), or not answered by it."""

_FULL = ("no space left on device", "disk quota exceeded")
_FULL_MESSAGE = "There is no room left for your files: your home, or the machine's disk, is full."
# What the kernel ended with SIGKILL, as a shell says it.
_KILLED = 137

SILENT = "never opened its port"
FAILING = "answers with errors only"
ANOTHER = "never proved that it is the server that was started"
"""What a server did that was given up while it started (`no_answer`)."""

REMOVED = "Its container was removed."
"""Of a server whose container nobody can look at any more (`why_ended`)."""


class ServerError(SpawnException):
    """A server that cannot start, in words for its user; `log_message` is for the administrator.

    The status is 503 unless the user asked for something wrong: with 500, JupyterHub logs the request's headers.
    """

    def __init__(self, message: str, *, reason: str, log_message: str = "", status_code: int = 503) -> None:
        super().__init__(message, reason=reason, log_message=log_message, status_code=status_code)
        # The spawn form and the progress page show this (jupyterhub.utils.format_exception).
        self.jupyterhub_message = message


def is_silent(error: Exception) -> bool:
    """Whether Docker did not answer at all."""
    return isinstance(error, DOCKER_ERRORS) and not isinstance(error, APIError)


def missing_image(who: str, image: str) -> ServerError:
    """The image is neither here nor, if that is allowed, where it comes from."""
    return ServerError(
        f"This environment is not installed on the machine. {TELL}",
        reason="image",
        log_message=f"{who}: image {image} is missing; deploy again",
    )


def wrong_user(user: str, uid: int | None, where: str, who: str, named: str) -> ServerError:
    """A server that would run as root, or as an unknown user.

    Args:
        user: as it is written.
        uid: what that means; None if it could not be found.
        where: names what says so, for the administrator.
        who: names the server in the log.
        named: the image, if its user named it.
    """
    told = f"runs as root ({user or 'it has no USER'})" if uid == 0 else f"has a user of unknown number ({user})"
    fix = "the number of an ordinary user, as USER 1000 at the end of its Dockerfile"
    return ServerError(
        f"The image {named} {told}. Servers here run as ordinary users: give it {fix}."
        if named
        else f"This environment cannot be used: it would not run as an ordinary user. {TELL}",
        reason="root",
        log_message=f"{who}: {where} {told}; give it {fix}",
        status_code=400 if named else 503,
    )


def of_pull(error: Exception, who: str, image: str, named: bool) -> ServerError:
    """An image that is to be fetched, and cannot; who named it (`named`) is told what the registry said."""
    told = of_docker(error, who)
    if told.reason != "docker":
        return told
    # A registry that the user named may say anything.
    explanation = clean.one_line(str(getattr(error, "explanation", None) or error))
    return ServerError(
        f"The image {image} could not be pulled: {explanation}."
        if named
        else f"This environment could not be fetched. {TELL}",
        reason="image",
        log_message=f"{who}: {image} could not be pulled: {explanation}",
    )


def slow_pull(seconds: int, who: str, image: str) -> ServerError:
    """An image that is still being fetched."""
    return ServerError(
        f"The image {image} was not here after {seconds // 60} minutes. Please try again later.",
        reason="image",
        log_message=f"{who}: pulling {image} was given up after {seconds} s",
    )


def of_anything(error: Exception, who: str) -> ServerError:
    """What nobody foresaw."""
    return ServerError(
        f"Your server could not be started. {TELL}",
        reason="unknown",
        log_message=f"{who}: {type(error).__name__}: {error}",
    )


def of_docker(error: Exception, who: str) -> ServerError:
    """What Docker refused, or that it did not answer."""
    if is_silent(error):
        return ServerError(
            f"Docker, which runs all servers of this machine, does not answer. {TELL}",
            reason="docker-down",
            log_message=f"{who}: Docker does not answer: {error}",
        )
    explanation = str(getattr(error, "explanation", None) or error)
    log_message = f"{who}: {explanation}"
    if any(words in explanation.lower() for words in _FULL):
        return ServerError(f"{_FULL_MESSAGE} {TELL}", reason="disk", log_message=log_message)
    return ServerError(f"Docker could not start your server. {TELL}", reason="docker", log_message=log_message)


def of_ended(state: Mapping[str, Any], lines: str, memory: int | None, who: str) -> ServerError:
    """A container that ended while its server was starting.

    Args:
        state: `State` of the container, as Docker describes it.
        lines: the last lines that it wrote.
        memory: its limit, in bytes.
        who: names the server in the log.
    """
    log_message = f"{who} ended while starting: {status(state)}. Its last lines:\n{lines}"
    if state.get("OOMKilled"):
        limit = f" of {memory // 1024**2} MB" if memory else ""
        return ServerError(
            f"Your server ran out of memory while it was starting: its limit{limit} is too small. {TELL}",
            reason="out-of-memory",
            log_message=log_message,
        )
    if state["ExitCode"] == _KILLED:
        # Not every engine tells of its limit; else it was the ceiling of all servers, or somebody.
        limit = f" Its limit is {memory // 1024**2} MB." if memory else ""
        return ServerError(
            f"Your server was killed, or ran out of memory while it was starting.{limit} {TELL}",
            reason="killed",
            log_message=log_message,
        )
    if any(words in lines.lower() for words in _FULL):
        return ServerError(f"{_FULL_MESSAGE} {TELL}", reason="disk", log_message=log_message)
    return ServerError(f"Your server ended while it was starting. {TELL}", reason="ended", log_message=log_message)


def vanished(who: str) -> ServerError:
    """Somebody removed the container of a server that was starting."""
    return ServerError(
        "The container of your server was removed while it was starting. Please try again.",
        reason="vanished",
        log_message=f"{who}: its container was removed by somebody else while it was starting",
    )


def no_answer(seconds: int, what: str, url: str, lines: str, who: str) -> ServerError:
    """A container that runs, without a server that answers; `what` it did instead."""
    return ServerError(
        f"Your server was started, but {what}: it was given up after {seconds} seconds. Please try again;"
        " if that does not help, tell the administrator.",
        reason="no-answer",
        log_message=f"{who} {what} ({url}), within {seconds} s. Its last lines:\n{lines}",
    )


def waiting_for_address(place: int, length: int) -> str:
    """What a user is told whose server waits for an address."""
    others = f" You are number {place} of {length}." if length > 1 else ""
    return f"All addresses for servers are in use.{others} Your server starts by itself when one is free."


def no_address(seconds: int, who: str, network: str) -> ServerError:
    """No address on the users' network within the time."""
    return ServerError(
        f"All addresses for servers are in use, and none became free in time. Please try again later. {TELL}",
        reason="no-address",
        log_message=f"{who} waited {seconds} s for an address in vain: of the network {network}, all are in use, were"
        " until a few minutes ago, or belong to other containers; a larger users' network has more",
    )


def no_proxy(error: Exception, who: str) -> ServerError:
    """The proxy does not say which addresses its routes lead to."""
    return ServerError(
        f"The proxy, which leads to all servers, does not answer. {TELL}",
        reason="proxy",
        log_message=f"{who}: the proxy does not tell its routes: {type(error).__name__}: {error}",
    )


def why_ended(state: Mapping[str, Any], memory: int) -> str:
    """Why a server ended that was in use, for its user.

    Args:
        state: `State` of the container, as Docker describes it.
        memory: its limit, in bytes; 0 for none.
    """
    code = int(state["ExitCode"])
    limit = f": its limit is {memory // 1024**2} MB" if memory else ""
    if code == 0:
        return "It was shut down, as File > Shut Down in JupyterLab does."
    # Docker keeps for ever that a process of the container, a kernel for one, met the limit once.
    if code == _KILLED and state.get("OOMKilled"):
        return f"It ran out of memory{limit}."
    if code == _KILLED:
        return "It was killed: by somebody, or because there was no memory left on the machine."
    return f"It ended with an error (exit code {code})."


def status(state: Mapping[str, Any]) -> str:
    """How a container ended, in the form that DockerSpawner gives it."""
    killed = ", OOMKilled" if state.get("OOMKilled") else ""
    return "ExitCode={ExitCode}, Error='{Error}', FinishedAt={FinishedAt}".format(**state) + killed
