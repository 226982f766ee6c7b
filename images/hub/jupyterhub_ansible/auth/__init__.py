"""Who may log in, and for how long: GitHub membership, identities, sessions, tokens, throttling, emergency access."""
