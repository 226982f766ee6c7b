"""The Docker engine: calls, errors, events, labels, and the kernel's limits."""
