"""Two runs at once on a machine that is deployed: one works, the other says who does."""

from __future__ import annotations

import os
import signal
from typing import Any

from sites import Site

LEASE = "/run/jupyterhub.lease"
CUT_OFF = '{"by": "ann@laptop", "since": "2026-01-01 10:00:00 UTC", "token": "x"}'
GIVEN_BACK = f"timeout 10 sh -c 'while [ -e {LEASE} ]; do sleep 0.2; done'"


def test_one_run_at_a_time(site: Site, host: Any) -> None:
    with site.at("TASK [docker : Write the engine", hub_server_pids=600) as first:
        # However slow it is: it lives.
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
    assert second.tasks[-1].startswith("preflight"), "nothing came after it"
    dry.succeeded()  # it is in nobody's way
    assert first.wait() == 0, "nobody disturbed it"
    assert "changed: " in rest
    assert '"hub_server_pids": 600' in host.file("/srv/jupyterhub/hub/hub.json").content_string


def test_after_a_run_that_ended_the_next_begins_at_once(site: Site, host: Any) -> None:
    site.kill("TASK [docker : Write the engine")
    after_a_killed_one = site.run().succeeded()
    assert "Waiting for the run" not in after_a_killed_one.output
    # Its lease is given back when it has ended, or it would take the one that is written here with it.
    host.check_output(GIVEN_BACK)
    # One whose network is lost cannot give anything back: its lease expires 30 s after it was renewed.  On a busy
    # machine the next run needs most of that to come so far.
    host.check_output("echo %s > %s && touch -d '5 seconds ago' %s", CUT_OFF, LEASE, LEASE)
    after_one_cut_off = site.run().succeeded()
    assert "Waiting for the run of ann@laptop, since 2026-01-01 10:00:00 UTC" in after_one_cut_off.output
    assert after_one_cut_off.changes == []
    host.check_output(GIVEN_BACK)
