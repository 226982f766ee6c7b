"""The Hub's HTTP server, and what it takes of a request."""
