"""The audit trail: who did what, written by a recorder in a container of its own, each line tied to the one before."""
