"""Users' servers: what can be chosen, admission, start, readiness, recovery, homes."""
