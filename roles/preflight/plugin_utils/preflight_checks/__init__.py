"""What `preflight` checks: plain Python without Ansible, so that tests take seconds.

A check is one small function in `rules` (settings), `catalogue` (environments)
or `host` (the machine); `report` runs them all.
"""
