"""Two runs at once on a deployed machine: one works, the other reports who holds the lease."""

from __future__ import annotations

import os
import signal
from typing import Any

from sites import Site

LEASE = "/run/jupyterhub.lease"
CUT_OFF = '{"by": "ann@laptop", "since": "2026-01-01 10:00:00 UTC", "token": "x"}'
GIVEN_BACK = f"timeout 10 sh -c 'while [ -e {LEASE} ]; do sleep 0.2; done'"


def test_second_run_stops_while_another_one_works(site: Site, host: Any) -> None:
    with site.at("TASK [docker : Write the engine", hub_server_pids=600) as first:
        # A stopped run is still alive.
        os.kill(first.pid, signal.SIGSTOP)
        second = site.run(hub_server_pids=700)
        dry = site.check()
        os.kill(first.pid, signal.SIGCONT)
        assert first.stdout
        rest = first.stdout.read()
    assert second.code == 2
    assert f"(process {first.pid})" in second.said
    assert "Nothing was changed" in second.said
    assert "Traceback" not in second.output
    assert second.tasks[-1].startswith("preflight"), "no task ran after preflight"
    dry.succeeded()  # a dry run needs no lease
    assert first.wait() == 0, "the second run did not disturb it"
    assert "changed: " in rest
    assert '"hub_server_pids": 600' in host.file("/srv/jupyterhub/hub/hub.json").content_string


def test_next_run_starts_at_once_or_when_the_lease_expires(site: Site, host: Any) -> None:
    site.kill("TASK [docker : Write the engine")
    after_a_killed_one = site.run().succeeded()
    assert "Waiting for the run" not in after_a_killed_one.output
    # Wait until its lease is released: it would remove the one that is written here.
    host.check_output(GIVEN_BACK)
    # A run that lost its network cannot release its lease, which expires 30 s after it was last renewed.  A time in the
    # future leaves the next run 50 s to find it: a busy machine may need more than 30.
    host.check_output("echo %s > %s && touch -d '20 seconds' %s", CUT_OFF, LEASE, LEASE)
    after_one_cut_off = site.run().succeeded()
    assert "Waiting for the run of ann@laptop, since 2026-01-01 10:00:00 UTC" in after_one_cut_off.output
    assert after_one_cut_off.changes == []
    host.check_output(GIVEN_BACK)
