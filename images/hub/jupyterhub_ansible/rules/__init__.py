"""The rule book: what settings may be, in plain functions that need nothing but Python.

The playbook's preflight runs it before anything is changed, the Hub when it starts, as a Compose application as well:
the same values are refused, in the same words.  `check` runs it all; `tables` has the rules by subject.
"""
