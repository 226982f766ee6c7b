"""Why a server did not start: in plain words for its user, with all details for the administrator's log."""

from jupyterhub.spawner import SpawnException


class ServerError(SpawnException):
    """A server that cannot start, in words for its user; `log_message` is for the administrator.

    The status is 503 unless the user asked for something wrong: with 500, JupyterHub logs the request's headers.
    """

    def __init__(self, message: str, *, reason: str, log_message: str = "", status_code: int = 503) -> None:
        super().__init__(message, reason=reason, log_message=log_message, status_code=status_code)
        # The spawn form and the progress page show this (jupyterhub.utils.format_exception).
        self.jupyterhub_message = message
