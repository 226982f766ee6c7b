"""The checks of `preflight`: plain Python without Ansible, so that they can be tested in seconds.

Each check is a small function: those of the machine are in `host`, `conflicts` and `engine`, those of settings that
only the playbook has in `engine_settings` and `ingress`.  All other rules are in the Hub's package, which
module_utils/rules links to.  `report` runs them all.
"""
