"""Messages of administrators, shown as a banner on the Hub's pages and in open JupyterLabs, without a restart."""
