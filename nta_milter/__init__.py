"""nta-milter: secure e-mail for health care on Postfix, as the Dutch agreement NTA 7516 asks."""

__version__ = "0.1.0"
