"""The Hub's settings: hub.json, environment variables and secrets, checked."""
