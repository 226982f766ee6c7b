"""This project's additions to JupyterHub: settings, login, and the spawner of users' servers."""
