"""What `preflight` checks: plain Python without Ansible, so that tests take seconds.

A check is one small function: of settings in `rules`, by subject, and of the machine
in `host`; `names` and `strict` know names and types; `report` runs them all.
Rules about values that the Hub checks as well are in its package, which module_utils/rules links to.
"""
