"""Rules about values that playbook and Hub share: plain functions, which need nothing but Python.

The playbook's preflight calls them before anything is changed, the Hub's settings when the Hub starts, as a Compose
application as well. What is wrong is told in two parts: what it is, and the fix.
"""

from typing import NamedTuple


class Place(NamedTuple):
    """A setting by its name in the playbook, and by its key in hub.json (or the secret's name)."""

    setting: str
    key: str
