"""Who may log in, and for how long: GitHub's members, identities, sessions, tokens, and the ways around a lockout."""
