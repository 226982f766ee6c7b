"""Folders that are in the servers of all who may use them (`hub_shared_folders`)."""
