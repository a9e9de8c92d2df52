"""The mobile number of a recipient, kept as E.164."""

from __future__ import annotations

import re

from nta_milter.errors import ConfigurationError

KIND = "phone"
"""Kind of this second factor in the store."""

_BETWEEN = re.compile(r"[\s().\-\u2010-\u2015/]")
_NUMBER = re.compile(r"\+[1-9][0-9]{7,14}")
_HOME = "+31"


def normal(number: str) -> str:
    """A number as E.164; one that begins with a single 0 is Dutch.

    Raises:
        ConfigurationError: it is not a telephone number.
    """
    bare = _BETWEEN.sub("", number.strip()).replace("+310", _HOME)
    if bare.startswith("00"):
        bare = "+" + bare[2:]
    elif bare.startswith("0"):
        bare = _HOME + bare[1:]
    if not _NUMBER.fullmatch(bare):
        raise ConfigurationError("is not a telephone number such as +31612345678", where=ascii(number))
    return bare
