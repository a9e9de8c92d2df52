"""What is sensitive, which rule fits, and the route of each recipient: pure decisions over frozen values."""
