"""Saves a Hub into a restic repository, and restores it: in a container (images/backup) without Docker's socket."""
