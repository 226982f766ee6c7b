"""Errors of the Hub as a Compose application, for the operator: in its log, and at its start its last message."""


class ComposeError(Exception):
    """Networks, proxy, fence or secrets are not as the Hub needs them; `str()` says what is wrong and the fix."""
