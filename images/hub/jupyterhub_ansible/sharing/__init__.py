"""Sharing by link: the owner of a server lets others in, for a time, without a password."""
