"""The command nta-milter: one file per family of commands."""
