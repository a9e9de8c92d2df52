"""Every error that nta-milter raises on purpose.

::

    NtaMilterError
    ├── ConfigurationError        the administrator can mend it; exit status 2
    │   └── KeyStoreError         a key or certificate file of ours cannot be used
    ├── TemporaryError            time may cure it; SMTP 4xx, exit status 75
    │   ├── LookupUnavailable     DNS gave no answer that can be trusted
    │   ├── RoutingNotProven      Postfix is not shown to keep a message on its route
    │   ├── StoreUnavailable      the database or a blob cannot be read or written now
    │   ├── SubmissionInDoubt     Postfix may have taken a mail that we handed to it, or not
    │   └── FetchFailed           a file that a certificate names is not to be had now
    └── PermanentError            it cannot change; SMTP 5xx, exit status 1
        ├── MessageError          malformed MIME or header fields
        │   └── LimitExceeded     deeper, longer or more than we work on
        ├── RecipientRefused      our own Postfix does not take mail for a recipient
        ├── SealError             stored content or a wrapped key does not open
        ├── CertificateError      a recipient's or signer's certificate cannot be used
        └── CmsError              a CMS structure that we do not open
            ├── MalformedCms      the bytes are not what RFC 5652 says
            ├── UnsupportedCms    an algorithm or form that we refuse
            └── OpenFailed        no key opens it, or what it opens to is not intact
"""

from __future__ import annotations

from collections.abc import Sequence


class NtaMilterError(Exception):
    """Base of the tree; ``str()`` is one line that a person can act on."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message

    def diagnostics(self) -> str:
        """What is wrong and where, in words for an administrator."""
        return str(self)


class ConfigurationError(NtaMilterError):
    """The configuration is wrong; ``where`` names the file with its line, or the key.

    ``problems`` holds every mistake where several were found at once.
    """

    problems: tuple[ConfigurationError, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[ConfigurationError]) -> ConfigurationError:
        """One error for one or more mistakes."""
        if len(problems) == 1:
            return problems[0]
        error = cls(f"{len(problems)} mistakes in the configuration; the first: {problems[0]}")
        error.problems = tuple(problems)
        return error

    def diagnostics(self) -> str:
        """Each mistake on a line of its own."""
        return "\n".join(str(problem) for problem in self.problems) or str(self)


class KeyStoreError(ConfigurationError):
    """A key, certificate or password file of our own cannot be used; ``where`` names the file."""


class TemporaryError(NtaMilterError):
    """Time may cure it: the message is answered with SMTP 4xx and kept by the sender."""


class LookupUnavailable(TemporaryError):
    """DNS gave no answer that can be trusted (time-out, SERVFAIL, bogus)."""


class RoutingNotProven(TemporaryError):
    """Postfix is not shown to keep a routed message on the mandatory-DANE transport."""


class StoreUnavailable(TemporaryError):
    """The database or a blob cannot be read or written now; ``where`` names it."""


class SubmissionInDoubt(TemporaryError):
    """The connection broke after the end of the data: Postfix may have the mail or not."""


class FetchFailed(TemporaryError):
    """A file that a certificate names (a revocation list) cannot be fetched; ``where`` is its address."""


class PermanentError(NtaMilterError):
    """It cannot change by waiting: the message is answered with SMTP 5xx."""


class MessageError(PermanentError):
    """Malformed header fields or MIME (RFC 5322, RFC 2045)."""


class LimitExceeded(MessageError):
    """The message is deeper, longer or has more parts than we work on."""


class RecipientRefused(PermanentError):
    """Our own Postfix does not take mail for this recipient; ``status`` is its enhanced status (RFC 3463)."""

    status = "5.1.0"


class SealError(PermanentError):
    """Stored content or a wrapped key does not open: a wrong key, or it was changed or cut off."""


class CertificateError(PermanentError):
    """A certificate that cannot be used for what it was asked for."""


class CmsError(PermanentError):
    """A CMS structure (RFC 5652) that we do not open."""


class MalformedCms(CmsError):
    """The bytes are not what RFC 5652 prescribes."""


class UnsupportedCms(CmsError):
    """An algorithm or form that we refuse or do not know."""


class OpenFailed(CmsError):
    """No key of ours opens it, or what it opens to is not intact."""
