"""What is asked of Docker: calls, events, labels, and what the kernel can do."""
