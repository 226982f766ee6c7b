"""What a call of the Docker API raises."""

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError as TransportError

DOCKER_ERRORS = (DockerException, RequestException, TransportError)
"""Docker refused the call (APIError), or did not answer."""


def is_unanswered(error: Exception) -> bool:
    """Whether Docker did not answer at all."""
    return isinstance(error, DOCKER_ERRORS) and not isinstance(error, APIError)
