"""Communal workspaces: servers that belong to no user, and that their declared members use together."""
