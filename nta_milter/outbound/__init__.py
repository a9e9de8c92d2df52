"""Outgoing mail: what it holds, what is decided, and one file per outcome."""
