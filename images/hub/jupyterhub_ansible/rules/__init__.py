"""The rule book: which values settings may have, in plain functions that need nothing but Python.

The playbook's preflight runs it before changing anything; the Hub, also as a Compose application, runs it at startup.
Both refuse the same values with the same messages.  `check` runs everything; `tables` has the rules by subject.
"""
