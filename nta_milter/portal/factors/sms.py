"""A one-time code to the recipient's telephone, sent by a program of the site's own choice.

The program (``portal.sms_command``) reads the number (E.164) from the first line of its standard input and
the text from the rest, and ends with status 0 when the text is on its way. No shell is between.
"""

from __future__ import annotations

import logging
import re
import secrets
import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta

from nta_milter.monitor.log import tell
from nta_milter.store.access import Access
from nta_milter.store.keys import Token, new_id
from nta_milter.store.rows import Answer

LIFETIME = timedelta(minutes=10)
"""Time that a code is good for."""
PATIENCE = 30
"""Seconds that the program may take."""

_CODE = re.compile(r"[0-9]{6}")

log = logging.getLogger(__name__)


def remember(access: Access, token: Token, delivery_id: str, at: datetime) -> str:
    """A new random code of six digits for the holder of a link; earlier ones of the delivery end."""
    code = f"{secrets.randbelow(10**6):06}"
    access.challenge(token.challenge, delivery_id, token.answer(code), at, LIFETIME)
    return code


def matches(access: Access, token: Token | None, given: str, at: datetime) -> bool:
    """Whether this is the code that was sent; each try counts. What leads nowhere costs the same."""
    code = given.strip().replace(" ", "")
    if not _CODE.fullmatch(code):
        return False
    found = (
        access.answer(token.challenge, token.answer(code), at) if token else access.answer(new_id(), "", at)
    )
    return found is Answer.RIGHT


def send(command: Sequence[str], number: str, text: str) -> bool:
    """Run the program; False when it cannot be run or says that it has failed."""
    try:
        done = subprocess.run(  # noqa: S603 - the administrator's own program
            command, input=f"{number}\n{text}\n".encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        tell(log, logging.ERROR, "sms-failed", error=type(error).__name__)  # its text would show the code
        return False
    if done.returncode:
        tell(log, logging.ERROR, "sms-failed", status=done.returncode)
    return not done.returncode
