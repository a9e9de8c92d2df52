"""Where the oldest and the newest versions of our libraries differ: the one place that knows.

The floor is Debian 12 (cryptography 38, pyOpenSSL 23), the ceiling the newest on PyPI. Everything else in
this package is written once.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from OpenSSL import crypto

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES as _TripleDES
except ImportError:  # before 43
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES as _TripleDES

PARSE_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    NotImplementedError,
    UnsupportedAlgorithm,
    InternalError,
    x509.InvalidVersion,
)
"""What asn1crypto and cryptography raise on bytes that are not what they should be.

asn1crypto documents ValueError, but a nesting of 3,000 gives RecursionError, an odd time OverflowError and
a wrong tag may give TypeError, KeyError, IndexError or AttributeError. cryptography adds
UnsupportedAlgorithm, InternalError where OpenSSL leaves an error that it does not know, and InvalidVersion.
"""

_CAN_SKIP_RSA_VALIDATION = (
    "unsafe_skip_rsa_key_validation" in inspect.signature(serialization.load_der_private_key).parameters
)


def load_private_key(der: bytes, *, password: bytes | None = None, checked: bool = False) -> Any:
    """Load a PKCS#8 or traditional private key.

    ``checked`` says that the caller has compared the key with its certificate: the primality tests, which
    hold the interpreter's lock for 285 ms on RSA-4096, are then left out where cryptography (39 and later)
    can. Raises one of :data:`PARSE_ERRORS`.
    """
    if checked and _CAN_SKIP_RSA_VALIDATION:
        return serialization.load_der_private_key(der, password, unsafe_skip_rsa_key_validation=True)
    return serialization.load_der_private_key(der, password)


def triple_des(key: bytes) -> Any:
    """The TripleDES cipher, which newer versions keep apart as decrepit; ``key`` has 24 bytes."""
    return _TripleDES(key)


def load_crl(der: bytes) -> Any:
    """A CRL (DER, RFC 5280 section 5) as ``X509Store.add_crl`` of this pyOpenSSL takes it.

    Up to 23 that is a type of pyOpenSSL's own, later cryptography's. Raises one of :data:`PARSE_ERRORS`.
    """
    try:
        if not hasattr(crypto, "load_crl"):
            found: Any = x509.load_der_x509_crl(der)
            crypto.X509Store().add_crl(found)  # OpenSSL reads less than cryptography: better here than later
            return found
        return crypto.load_crl(crypto.FILETYPE_ASN1, der)
    except crypto.Error as error:
        raise ValueError("not a certificate revocation list") from error


def load_pkcs12(data: bytes, password: bytes) -> tuple[Any, Any, list[Any]]:
    """One key, its certificate and the others of a PKCS#12 file, as cryptography reads it.

    Newer versions warn on standard error about a file in BER, which is what PKCS#12 may be (RFC 7292).
    Raises one of :data:`PARSE_ERRORS`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pkcs12.load_key_and_certificates(data, password)
