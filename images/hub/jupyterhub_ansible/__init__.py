"""What the Hub of this project adds to JupyterHub: settings, names, and the spawner of users' servers."""
