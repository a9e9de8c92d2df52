"""The milter process: thin callbacks, sessions, actions, supervision. ``Milter`` is imported here alone."""
