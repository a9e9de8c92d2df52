"""What goes out besides the message itself in place: stored first, sent when Postfix has the message.

The milter prepares here; the worker hands over. Nothing in this room talks to Postfix.
"""
