"""Postfix: the internal header that routes a message, its tables, and the proof that they work."""
