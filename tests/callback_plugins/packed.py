"""Callback `packed`: modules are packed once for all runs of the tests, instead of in each run (0.25 s)."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: packed
type: aggregate
short_description: Keep packed modules for the next run
description: [Under .ansible/packed, by a hash of their sources.]
"""
PROJECT = Path(__file__).parents[2]
SOURCES = ("plugins/mod*/*.py", "requirements/run.txt")
# Where Ansible keeps them, in the temporary folder of each run (ansible.executor.module_common).
CACHE = "ansiballz_cache"


class CallbackModule(CallbackBase):
    """See above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "packed"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Replace this run's folder by the shared one."""
        super().__init__()
        content = hashlib.sha256()
        for pattern in SOURCES:
            for path in sorted(PROJECT.glob(pattern)):
                content.update(f"{path.name}\n".encode() + path.read_bytes())
        shared = PROJECT / ".ansible/packed" / content.hexdigest()[:16]
        shared.mkdir(parents=True, exist_ok=True)
        (Path(constants.DEFAULT_LOCAL_TMP) / CACHE).symlink_to(shared)
