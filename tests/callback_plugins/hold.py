"""Callback `hold`: stop a run before a task, so that a test can kill it exactly there."""

from __future__ import annotations

import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: hold
type: aggregate
short_description: Stop before a task
description: [The environment variable HOLD_BEFORE names the task.]
"""


class CallbackModule(CallbackBase):
    """See above."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "hold"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Wait to be killed; the task's name has been shown, and it has not started."""
        if task.get_name() == os.environ["HOLD_BEFORE"]:
            signal.pause()
