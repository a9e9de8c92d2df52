"""Codes of the closed list of reasons, and what each does to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a reason does to the answer."""

    REFUSAL = "refusal"
    UNKNOWN = "unknown"
    REMARK = "remark"


class Code(Enum):
    """Every reason's code."""

    DOMAIN_INVALID = "domain-invalid"
    DOMAIN_ABSENT = "domain-absent"
    RESOLVER_NOT_PROVEN = "resolver-not-proven"
    DEADLINE = "deadline"
    RECORD_ABSENT = "record-absent"
    RECORD_UNRECOGNISED = "record-unrecognised"
    RECORD_UNKNOWN = "record-unknown"
    RECORD_INSECURE = "record-insecure"
    RECORD_DRAFT = "record-draft"
    RECORD_VERSION_UNSUPPORTED = "record-version-unsupported"
    RECORD_VERSION_MALFORMED = "record-version-malformed"
    RECORD_TOO_LONG = "record-too-long"
    RECORD_NOT_TEXT = "record-not-text"
    RECORD_AMBIGUOUS = "record-ambiguous"
    RECORD_IGNORED = "record-ignored"
    RECORD_NOT_STARTED = "record-not-started"
    RECORD_EXPIRED = "record-expired"
    STARTDATE_MISSING = "startdate-missing"
    STARTDATE_MALFORMED = "startdate-malformed"
    STARTDATE_DUPLICATE = "startdate-duplicate"
    ENDDATE_MISSING = "enddate-missing"
    ENDDATE_MALFORMED = "enddate-malformed"
    ENDDATE_DUPLICATE = "enddate-duplicate"
    DATES_REVERSED = "dates-reversed"
    PROVIDER_MISSING = "provider-missing"
    PROVIDER_DUPLICATE = "provider-duplicate"
    FIELD_UNKNOWN = "field-unknown"
    NTAMX_MALFORMED = "ntamx-malformed"
    NTAMX_HOST_INVALID = "ntamx-host-invalid"
    NTAMX_TOO_MANY = "ntamx-too-many"
    NTAMX_DUPLICATE = "ntamx-duplicate"
    MX_UNKNOWN = "mx-unknown"
    MX_INSECURE = "mx-insecure"
    MX_NULL = "mx-null"
    MX_TOO_MANY = "mx-too-many"
    HOSTS_UNUSABLE = "hosts-unusable"
    HOSTS_UNKNOWN = "hosts-unknown"
    HOST_INVALID = "host-invalid"
    ADDRESS_ABSENT = "address-absent"
    ADDRESS_INSECURE = "address-insecure"
    ALIAS_INSECURE = "alias-insecure"
    ADDRESS_UNKNOWN = "address-unknown"
    TLSA_ABSENT = "tlsa-absent"
    TLSA_INSECURE = "tlsa-insecure"
    TLSA_UNKNOWN = "tlsa-unknown"
    TLSA_UNUSABLE = "tlsa-unusable"
    TLSA_RECORD_IGNORED = "tlsa-record-ignored"
    PROBE_CONNECTION = "probe-connection"
    PROBE_STARTTLS = "probe-starttls"
    PROBE_TLS = "probe-tls"
    PROBE_CERTIFICATE = "probe-certificate"
    OWN_UNKNOWN = "own-unknown"
    OWN_INSECURE = "own-insecure"
    RECORD_ENDS_SOON = "record-ends-soon"
    TLSA_MISMATCH = "tlsa-mismatch"
    SMIMEA_ABSENT = "smimea-absent"
    SMIMEA_MISMATCH = "smimea-mismatch"
    SPF_ABSENT = "spf-absent"
    SPF_SEVERAL = "spf-several"
    SPF_NOT_STRICT = "spf-not-strict"
    DKIM_ABSENT = "dkim-absent"
    DKIM_REVOKED = "dkim-revoked"
    DMARC_ABSENT = "dmarc-absent"
    DMARC_SEVERAL = "dmarc-several"
    DMARC_NOT_STRICT = "dmarc-not-strict"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One reason in words for an administrator."""

    kind: Kind
    sentence: str
    why: str
    mend: str
