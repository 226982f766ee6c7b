"""Callback `packed`: modules are packed once for all runs of the tests, and not in each of them anew (0.25 s)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: packed
type: aggregate
short_description: Keep packed modules for the next run
description: [Under .ansible/packed, by what they are made of.]
"""
PROJECT = Path(__file__).parents[2]
MADE_OF = ("plugins/mod*/*.py", "requirements/run.txt")
# Where Ansible looks for them, in a folder that each run has for itself (ansible.executor.module_common).
THEIRS = "ansiballz_cache"


class CallbackModule(CallbackBase):
    """See above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "packed"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Put the shared folder in the place of this run's own."""
        super().__init__()
        content = hashlib.sha256()
        for pattern in MADE_OF:
            for path in sorted(PROJECT.glob(pattern)):
                content.update(f"{path.name}\n".encode() + path.read_bytes())
        shared = PROJECT / ".ansible/packed" / content.hexdigest()[:16]
        shared.mkdir(parents=True, exist_ok=True)
        (Path(constants.DEFAULT_LOCAL_TMP) / THEIRS).symlink_to(shared)
