"""The ranges of all numbers."""

from __future__ import annotations

from .. import ranges
from ..problems import Finding, shown
from ..registry import Check, Findings, Rules

rule = Rules()

# Smallest and largest value (None: no limit) by setting.
RANGES: dict[str, tuple[float, float | None]] = {
    "jupyterhub_port": (1, 65535),
    "preflight_disk_min_gb": (0, None),
    "preflight_memory_min_mb": (0, None),
    "images_keep": (0, None),
    "audit_keep_mb": (8, None),
    "hub_server_memory_mb": (ranges.MEMORY_MIN_MB, None),
    "hub_server_cpus": (ranges.CPUS_MIN, None),
    "hub_server_pids": (ranges.PIDS_MIN, None),
    "hub_server_tmp_mb": (ranges.TMP_MIN_MB, None),
    "hub_reserve_memory_mb": (0, None),
    "hub_reserve_disk_mb": (0, None),
    "hub_running_servers_limit": (0, None),
    "hub_start_timeout_s": ranges.START_TIMEOUT_S,
    "hub_named_servers_limit": (0, None),
    "hub_versions_mb": (0, None),
    "hub_versions_per_file": ranges.VERSIONS_PER_FILE,
    "hub_token_max_age_days": (0, 3650),
    "hub_membership_interval_s": ranges.MEMBERSHIP_INTERVAL_S,
}


def in_range(low: float, high: float | None) -> Check:
    """Return the check of one of these settings."""

    def check(value: float) -> Findings:
        if value < low or (high is not None and value > high):
            wanted = f"at least {low}" if high is None else f"{low} to {high}"
            yield Finding(f"is out of range: {shown(value)}", f"use {wanted}")

    return check


for setting, limits in RANGES.items():
    rule(setting)(in_range(*limits))
