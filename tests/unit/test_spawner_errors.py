"""Why a server did not start: the messages for its user and for the administrator."""

from typing import Any
from unittest.mock import Mock

import pytest
import requests
from docker.errors import APIError, DockerException
from jupyterhub_ansible.spawner import errors
from urllib3.exceptions import ProtocolError

STATE = {"ExitCode": 1, "Error": "", "FinishedAt": "2026-11-22T10:00:00Z", "OOMKilled": False}


def refused(text: str) -> APIError:
    return APIError("500 Server Error", response=Mock(status_code=500), explanation=text)


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (requests.exceptions.ConnectionError("refused"), "docker-down", "does not answer"),
        (requests.exceptions.ReadTimeout("60 s"), "docker-down", "does not answer"),
        (DockerException("Error while fetching server API version"), "docker-down", "does not answer"),
        (ProtocolError("broken"), "docker-down", "does not answer"),
        (refused("mkdir /var/lib/docker/overlay2/x: no space left on device"), "disk", "is full"),
        (refused("write /x: Disk quota exceeded"), "disk", "is full"),
        (refused("OCI runtime create failed"), "docker", "Docker could not start"),
    ],
)
def test_docker(error: Exception, reason: str, words: str) -> None:
    told = errors.docker_failed(error, "alice")
    assert told.reason == reason
    assert words in told.jupyterhub_message
    assert "tell the administrator" in told.jupyterhub_message
    # Details are in the log, with the server's name.
    detail = getattr(error, "explanation", None) or str(error)
    assert detail not in told.jupyterhub_message
    assert told.log_message.startswith("alice: ")
    assert detail in told.log_message
    assert told.status_code == 503


@pytest.mark.parametrize(
    ("state", "lines", "reason", "words"),
    [
        ({"OOMKilled": True, "ExitCode": 1}, "", "out-of-memory", "its limit of 64 MB is too small"),
        (
            {"ExitCode": 137},
            "",
            "killed",
            "was killed, or ran out of memory while it was starting. Its limit is 64 MB.",
        ),
        ({}, "OSError: [Errno 28] No space left on device: '/home/jovyan/.local'", "disk", "is full"),
        ({}, "OSError: [Errno 122] Disk quota exceeded", "disk", "is full"),
        ({}, "ImportError", "ended", "ended while it was starting"),
    ],
)
def test_a_container_that_ended(state: dict[str, Any], lines: str, reason: str, words: str) -> None:
    told = errors.ended_early({**STATE, **state}, lines, 64 * 1024**2, "alice")
    assert told.reason == reason
    assert words in told.jupyterhub_message
    assert lines not in told.jupyterhub_message or not lines
    assert lines in told.log_message


def test_a_server_without_a_limit_that_was_killed() -> None:
    told = errors.ended_early({**STATE, "ExitCode": 137}, "", None, "alice")
    assert "limit" not in told.jupyterhub_message


@pytest.mark.parametrize("words", [errors.SILENT, errors.FAILING, errors.ANOTHER])
def test_no_answer(words: str) -> None:
    told = errors.no_answer(60, words, "http://10.0.0.2:8888/user/alice/api", "the last words", "alice")
    assert words in told.jupyterhub_message
    assert "60 seconds" in told.jupyterhub_message
    assert "10.0.0.2" not in told.jupyterhub_message
    assert "the last words" in told.log_message


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"ExitCode": 0, "OOMKilled": True}, "It was shut down, as File > Shut Down in JupyterLab does."),
        ({"ExitCode": 137, "OOMKilled": True}, f"It ran out of memory: its limit is 64 MB. {errors.LESS_MEMORY}"),
        ({"ExitCode": 137, "OOMKilled": False}, "It was killed"),
        ({"ExitCode": 3, "OOMKilled": True}, "It ended with an error (exit code 3)."),
    ],
)
def test_why_a_server_ended(state: dict[str, Any], words: str) -> None:
    assert words in errors.why_ended(state, 64 * 1024**2)


def test_out_of_memory_without_a_limit() -> None:
    assert errors.why_ended({"ExitCode": 137, "OOMKilled": True}, 0) == f"It ran out of memory. {errors.LESS_MEMORY}"


def test_a_pull() -> None:
    told = errors.pull_failed(refused("dial tcp 10.0.0.1:443: connection refused"), "alice", "r/x:1", named=False)
    assert (told.reason, "could not be fetched" in told.jupyterhub_message) == ("image", True)
    assert "r/x:1 could not be pulled: dial tcp" in told.log_message
    assert errors.pull_failed(refused("no space left on device"), "alice", "r/x:1", named=True).reason == "disk"
    assert (
        errors.pull_failed(requests.exceptions.ConnectionError(), "alice", "r/x:1", named=True).reason == "docker-down"
    )
    told = errors.pull_failed(refused("manifest unknown"), "alice", "r/x:1", named=True)
    assert told.jupyterhub_message == "The image r/x:1 could not be pulled: manifest unknown."
    # A registry's message is untrusted.
    told = errors.pull_failed(refused("\x1b[2J" + "x" * 200_000), "alice", "r/x:1", named=True)
    assert told.jupyterhub_message.isprintable()
    assert len(told.jupyterhub_message) < 1_200


def test_percent_signs_in_a_log_are_literal() -> None:
    told = errors.ended_early(STATE, "100 %s", None, "alice")
    assert "100 %s" in str(told)
