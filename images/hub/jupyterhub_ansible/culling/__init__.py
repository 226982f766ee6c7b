"""When idle servers are stopped."""
