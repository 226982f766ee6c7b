"""Reads and checks the Hub's settings: hub.json, environment variables and secrets."""
