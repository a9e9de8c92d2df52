"""NIST's Public Key Interoperability Test Suite (PKITS), with every case that we judge otherwise explained.

The certificates and CRLs come with the package cryptography_vectors. All intermediates and all CRLs are at
hand in each case; a certificate is accepted when it is trusted and known not to be revoked.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cryptography_vectors
import pytest

from nta_milter.errors import CertificateError
from nta_milter.smime.certificate import Certificate
from nta_milter.smime.revocation import RevocationLists
from nta_milter.smime.trust import Trust
from tests.unit.smime.persons import NOW

DATA = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
CASES = sorted((DATA / "certs").glob("*Test*EE.crt"))

NO_POLICY = "we ask for no certificate policy (RFC 5280 section 6.1.1, any-policy without explicit policy)"
INDIRECT = "OpenSSL finds no list that another authority signed for the issuer: not known, so not good"
DSA = "we take no DSA keys"

ACCEPTED_THOUGH_INVALID = {
    **dict.fromkeys(
        (
            "InvalidMappingFromanyPolicyTest7",
            "InvalidMappingToanyPolicyTest8",
            "InvalidPolicyMappingTest10",
            "InvalidPolicyMappingTest2",
            "InvalidPolicyMappingTest4",
            "InvalidSelfIssuedinhibitAnyPolicyTest10",
            "InvalidSelfIssuedinhibitAnyPolicyTest8",
            "InvalidSelfIssuedinhibitPolicyMappingTest10",
            "InvalidSelfIssuedinhibitPolicyMappingTest11",
            "InvalidSelfIssuedinhibitPolicyMappingTest8",
            "InvalidSelfIssuedinhibitPolicyMappingTest9",
            "InvalidSelfIssuedrequireExplicitPolicyTest7",
            "InvalidSelfIssuedrequireExplicitPolicyTest8",
            "InvalidinhibitAnyPolicyTest1",
            "InvalidinhibitAnyPolicyTest4",
            "InvalidinhibitAnyPolicyTest5",
            "InvalidinhibitAnyPolicyTest6",
            "InvalidinhibitPolicyMappingTest1",
            "InvalidinhibitPolicyMappingTest3",
            "InvalidinhibitPolicyMappingTest5",
            "InvalidinhibitPolicyMappingTest6",
            "InvalidrequireExplicitPolicyTest3",
            "InvalidrequireExplicitPolicyTest5",
        ),
        NO_POLICY,
    )
}
REFUSED_THOUGH_VALID = {
    **dict.fromkeys(
        (
            "ValidIDPwithindirectCRLTest24",
            "ValidIDPwithindirectCRLTest25",
            "ValidcRLIssuerTest28",
            "ValidcRLIssuerTest29",
            "ValidcRLIssuerTest30",
            "ValidcRLIssuerTest33",
        ),
        INDIRECT,
    ),
    "ValidDSASignaturesTest4": DSA,
    "ValidDSAParameterInheritanceTest5": DSA,
}


@lru_cache
def trust() -> Trust:
    authorities = []
    for file in sorted((DATA / "certs").glob("*.crt")):
        if file not in CASES and file.name != "DSAParametersInheritedCACert.crt":
            authorities.append(Certificate.from_der(file.read_bytes()))
    root = Certificate.from_der((DATA / "certs" / "TrustAnchorRootCertificate.crt").read_bytes())
    lists = RevocationLists.load(DATA / "crls")
    assert lists.problems == ()
    return Trust([root], authorities, lists, unknown_revocation="refuse")


def accepted(file: Path) -> tuple[bool, str]:
    try:
        verdict = trust().judge(Certificate.from_der(file.read_bytes()), [], NOW)
    except CertificateError as error:
        return False, str(error)
    return verdict.trusted and verdict.revocation == "good", verdict.reason


def test_the_suite_is_complete():
    assert len(CASES) == 223
    names = {file.stem.removesuffix("EE") for file in CASES}
    assert names > ACCEPTED_THOUGH_INVALID.keys() | REFUSED_THOUGH_VALID.keys()


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem.removesuffix("EE"))
def test_a_path_is_judged_as_nist_says_or_otherwise_for_a_reason(file):
    """Names without Valid or Invalid are policy cases, valid for one who asks for no policy."""
    name = file.stem.removesuffix("EE")
    expected = not name.startswith("Invalid")
    if name in ACCEPTED_THOUGH_INVALID or name in REFUSED_THOUGH_VALID:
        expected = not expected
    verdict, reason = accepted(file)
    assert verdict is expected, reason
