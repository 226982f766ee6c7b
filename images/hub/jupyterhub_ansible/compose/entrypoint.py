"""`python -m jupyterhub_ansible.compose.entrypoint`: store the secrets, and print the group of Docker's socket.

Run as root by compose/hub-entrypoint, before it drops to the Hub's account.
"""

import os
import sys
from collections.abc import Mapping

from ..settings import environment_variables
from .errors import ComposeError
from .secret_files import Places, keep_secrets


def prepared(places: Places, environ: Mapping[str, str]) -> int:
    """Store the secrets, and return the id of the group that may use Docker's socket.

    Raises:
        ComposeError: a secret cannot be read, or Docker's socket is not there.
    """
    try:
        group = places.socket.stat().st_gid
    except OSError as error:
        raise ComposeError(
            f"Docker's socket is not at {places.socket}: {error.strerror}. Mount it, as docker-compose.yml does."
        ) from None
    try:
        keep_secrets(places, environment_variables.secrets(environ))
    except environment_variables.EnvironmentVariableError as error:
        raise ComposeError(str(error)) from None
    return group


if __name__ == "__main__":
    try:
        print(prepared(Places(), os.environ))
    except ComposeError as problem:
        # Without a traceback: the message is for the operator.
        sys.exit(str(problem))
