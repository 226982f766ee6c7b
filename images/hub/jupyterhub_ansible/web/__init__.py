"""The Hub's HTTP server, its limits on requests, and its error pages."""
