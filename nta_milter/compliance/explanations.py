"""Every reason in words; packaging/doc/reasons.md shows the same list, and a test compares them."""

from __future__ import annotations

from nta_milter.compliance.codes import Code, Explanation, Kind

_CLOSED = "A record that could be read in two ways is not trusted, so that mail never goes astray by mistake."
_MONTHS = "Without both months nobody can tell whether the agreement is in force."
_SIGN = "Without DNSSEC anyone on the path can put another host in the receiver's place."
_WAIT = "A failed look-up proves nothing, so the mail waits and nothing is downgraded."
_ONE = "publish the record again with this field exactly once; nta-milter record prints it"

EXPLANATIONS: dict[Code, Explanation] = {
    Code.DOMAIN_INVALID: Explanation(
        Kind.REFUSAL,
        "this is not a mail domain",
        "Only a domain of letters, digits and hyphens, or an internationalised one, can publish a record.",
        "correct what follows the @ in the address",
    ),
    Code.DOMAIN_ABSENT: Explanation(
        Kind.REFUSAL,
        "the domain does not exist",
        "No mail can be delivered there.",
        "correct the address, or register the domain",
    ),
    Code.RESOLVER_NOT_PROVEN: Explanation(
        Kind.UNKNOWN,
        "our resolver is not proven to validate DNSSEC",
        "Without a validating resolver a forged record looks like a real one.",
        "run a validating resolver (unbound) on this host and name it in dns.servers",
    ),
    Code.DEADLINE: Explanation(
        Kind.UNKNOWN,
        "the look-ups were not finished in time",
        _WAIT,
        "look at the resolver; the mail is tried again by itself",
    ),
    Code.RECORD_ABSENT: Explanation(
        Kind.REFUSAL,
        "there is no NTA 7516 record",
        "The record is how an organisation says that it receives health data by the agreement.",
        "publish the TXT record; nta-milter record prints it",
    ),
    Code.RECORD_UNRECOGNISED: Explanation(
        Kind.REMARK,
        "a TXT record mentions NTA7516 but is no NTA 7516 record",
        "A record counts only when it begins with v=NTA7516.",
        "write the record as nta-milter record prints it",
    ),
    Code.RECORD_UNKNOWN: Explanation(
        Kind.UNKNOWN,
        "DNS gives no answer about the record that can be trusted",
        _WAIT,
        "the domain's owner looks at its name servers and DNSSEC signatures",
    ),
    Code.RECORD_INSECURE: Explanation(
        Kind.REFUSAL,
        "the record is not protected by DNSSEC",
        _SIGN,
        "sign the zone and have the DS record published at the registry",
    ),
    Code.RECORD_DRAFT: Explanation(
        Kind.REFUSAL,
        "the record has the form of the 2019 draft",
        "The draft form lacks what the agreement prescribes and is never trusted.",
        "publish a record that begins with v=NTA7516-1; nta-milter record prints it",
    ),
    Code.RECORD_VERSION_UNSUPPORTED: Explanation(
        Kind.REFUSAL,
        "the record has a version that is not known here",
        "What another version means is not known, so nothing may rest on it.",
        "publish a v=NTA7516-1 record too, or install a release that knows the version",
    ),
    Code.RECORD_VERSION_MALFORMED: Explanation(
        Kind.REFUSAL,
        "what follows v=NTA7516 is no version",
        _CLOSED,
        "begin the record with v=NTA7516-1 and a semicolon",
    ),
    Code.RECORD_TOO_LONG: Explanation(
        Kind.REFUSAL,
        "the record is too long",
        "An honest record is a few hundred characters; more is not worked on.",
        "shorten the record to at most 2048 characters",
    ),
    Code.RECORD_NOT_TEXT: Explanation(
        Kind.REFUSAL,
        "the record contains bytes that are not printable text",
        _CLOSED,
        "publish the record as plain text",
    ),
    Code.RECORD_AMBIGUOUS: Explanation(
        Kind.REFUSAL,
        "there are several different records",
        _CLOSED,
        "keep one record and remove the others",
    ),
    Code.RECORD_IGNORED: Explanation(
        Kind.REMARK,
        "another record, of a version that is not known here, is ignored",
        "The record of the newest known version counts.",
        "remove it if it is the form of the 2019 draft",
    ),
    Code.RECORD_NOT_STARTED: Explanation(
        Kind.REFUSAL,
        "the record is not in force yet",
        "It counts from the first day of the month in startdate.",
        "wait, or publish an earlier startdate",
    ),
    Code.RECORD_EXPIRED: Explanation(
        Kind.REFUSAL,
        "the record has expired",
        "It counted until the last day of the month in enddate.",
        "publish the record with a later enddate",
    ),
    Code.STARTDATE_MISSING: Explanation(Kind.REFUSAL, "there is no startdate", _MONTHS, _ONE),
    Code.STARTDATE_MALFORMED: Explanation(
        Kind.REFUSAL, "startdate is not a month YYYY-MM", _MONTHS, "write it like 2026-01"
    ),
    Code.STARTDATE_DUPLICATE: Explanation(Kind.REFUSAL, "startdate is given more than once", _CLOSED, _ONE),
    Code.ENDDATE_MISSING: Explanation(Kind.REFUSAL, "there is no enddate", _MONTHS, _ONE),
    Code.ENDDATE_MALFORMED: Explanation(
        Kind.REFUSAL, "enddate is not a month YYYY-MM", _MONTHS, "write it like 2028-12"
    ),
    Code.ENDDATE_DUPLICATE: Explanation(Kind.REFUSAL, "enddate is given more than once", _CLOSED, _ONE),
    Code.DATES_REVERSED: Explanation(
        Kind.REFUSAL, "enddate lies before startdate", _MONTHS, "correct the months"
    ),
    Code.PROVIDER_MISSING: Explanation(
        Kind.REMARK,
        "there is no provider",
        "It names the service to call when something does not work.",
        "add provider= with the name of the communication service",
    ),
    Code.PROVIDER_DUPLICATE: Explanation(Kind.REFUSAL, "provider is given more than once", _CLOSED, _ONE),
    Code.FIELD_UNKNOWN: Explanation(
        Kind.REMARK,
        "a field is not known and has no effect",
        "It may be a spelling mistake.",
        "remove it or correct its name",
    ),
    Code.NTAMX_MALFORMED: Explanation(
        Kind.REFUSAL,
        "an ntamx is not a preference and a host name",
        "If it were skipped, mail could go to the ordinary mail servers by accident.",
        "write it like ntamx=10 nta-mx.hospital.test, each host in a field of its own",
    ),
    Code.NTAMX_HOST_INVALID: Explanation(
        Kind.REFUSAL,
        "an ntamx does not name a host that can be connected to",
        "Another character, an IP address or a trailing dot would stop a mail server's whole transport.",
        "use a full host name of letters, digits and hyphens, in A-label form, without a trailing dot",
    ),
    Code.NTAMX_TOO_MANY: Explanation(
        Kind.REFUSAL,
        "there are too many ntamx hosts",
        "Every host costs several look-ups; an honest record has a few.",
        "name at most 20 hosts",
    ),
    Code.NTAMX_DUPLICATE: Explanation(
        Kind.REMARK,
        "an ntamx host is named more than once",
        "The lowest preference counts.",
        "name each host once",
    ),
    Code.MX_UNKNOWN: Explanation(
        Kind.UNKNOWN,
        "DNS gives no answer about the MX hosts that can be trusted",
        _WAIT,
        "the domain's owner looks at its name servers and DNSSEC signatures",
    ),
    Code.MX_INSECURE: Explanation(
        Kind.REFUSAL,
        "the MX records are not protected by DNSSEC",
        _SIGN,
        "sign the zone and have the DS record published at the registry",
    ),
    Code.MX_NULL: Explanation(
        Kind.REFUSAL,
        "the domain takes no mail (null MX)",
        "The record names no ntamx, and the MX record says that there is no mail server.",
        "publish ntamx hosts or MX records",
    ),
    Code.MX_TOO_MANY: Explanation(
        Kind.REMARK,
        "only the first MX hosts are looked at",
        "Every host costs several look-ups.",
        "name at most 20 hosts",
    ),
    Code.HOSTS_UNUSABLE: Explanation(
        Kind.REFUSAL,
        "no receiving host can be reached by mandatory DANE",
        "Health data travels only to a host whose identity is proven by DNSSEC and DANE.",
        "mend what is said of the hosts; one usable host is enough",
    ),
    Code.HOSTS_UNKNOWN: Explanation(
        Kind.UNKNOWN,
        "DNS gives no answer about the receiving hosts that can be trusted",
        _WAIT,
        "the hosts' owner looks at the name servers and DNSSEC signatures",
    ),
    Code.HOST_INVALID: Explanation(
        Kind.REFUSAL,
        "this is not a host name that can be connected to",
        "Another character, an IP address or a trailing dot would stop a mail server's whole transport.",
        "use a full host name of letters, digits and hyphens",
    ),
    Code.ADDRESS_ABSENT: Explanation(
        Kind.REFUSAL,
        "the host has no address",
        "Mail to a host that does not exist is returned to the sender.",
        "publish A or AAAA records, or correct the name",
    ),
    Code.ADDRESS_INSECURE: Explanation(
        Kind.REFUSAL,
        "the host's addresses are not protected by DNSSEC",
        _SIGN,
        "sign the zone of the host",
    ),
    Code.ALIAS_INSECURE: Explanation(
        Kind.REFUSAL,
        "the host is an alias, and its addresses are not protected by DNSSEC all the way",
        _SIGN,
        "sign every zone that the alias passes, or publish the addresses at the name itself",
    ),
    Code.ADDRESS_UNKNOWN: Explanation(
        Kind.UNKNOWN,
        "DNS gives no answer about the host's addresses that can be trusted",
        _WAIT,
        "the host's owner looks at the name servers and DNSSEC signatures",
    ),
    Code.TLSA_ABSENT: Explanation(
        Kind.REFUSAL,
        "there is no TLSA record",
        "Without it the host's certificate cannot be proven.",
        "publish _25._tcp TLSA; nta-milter record prints it from the certificate",
    ),
    Code.TLSA_INSECURE: Explanation(
        Kind.REFUSAL,
        "the TLSA records are not protected by DNSSEC",
        _SIGN,
        "sign the zone that holds _25._tcp",
    ),
    Code.TLSA_UNKNOWN: Explanation(
        Kind.UNKNOWN,
        "DNS gives no answer about the TLSA records that can be trusted",
        _WAIT,
        "the host's owner looks at the name servers and DNSSEC signatures",
    ),
    Code.TLSA_UNUSABLE: Explanation(
        Kind.REFUSAL,
        "no TLSA record can be used for mail",
        "Mail uses usage 3 (the host's own key) and 2 (its issuer) only (RFC 7672).",
        "publish a 3 1 1 record; nta-milter record prints it from the certificate",
    ),
    Code.TLSA_RECORD_IGNORED: Explanation(
        Kind.REMARK,
        "a TLSA record is not used",
        "It has a usage, selector or matching type that mail does not use, or data that do not fit it.",
        "remove it, or publish a 3 1 1 record in its place",
    ),
    Code.PROBE_CONNECTION: Explanation(
        Kind.REFUSAL,
        "the host cannot be talked to on port 25",
        "Mail is deferred as long as no host answers.",
        "let the host accept connections on port 25 and greet with 220",
    ),
    Code.PROBE_STARTTLS: Explanation(
        Kind.REFUSAL,
        "the host does not offer STARTTLS",
        "By mandatory DANE nothing is sent without TLS.",
        "switch TLS on (in Postfix: smtpd_tls_security_level=may)",
    ),
    Code.PROBE_TLS: Explanation(
        Kind.REFUSAL,
        "no TLS connection of version 1.2 or later can be made",
        "Older versions are not strong enough for health data.",
        "allow TLS 1.2 and 1.3",
    ),
    Code.PROBE_CERTIFICATE: Explanation(
        Kind.REFUSAL,
        "the host's certificate does not match its TLSA records",
        "By mandatory DANE nothing is sent to a host that cannot prove itself.",
        "publish the TLSA record of the certificate in use before the certificate is changed",
    ),
    Code.OWN_UNKNOWN: Explanation(
        Kind.UNKNOWN,
        "DNS gives no answer that can be trusted",
        "A failed look-up proves nothing.",
        "look at the name servers and DNSSEC signatures of the zone, and try again",
    ),
    Code.OWN_INSECURE: Explanation(
        Kind.REFUSAL,
        "a name that others rely on is not protected by DNSSEC",
        _SIGN,
        "sign the zone and have the DS record published at the registry",
    ),
    Code.RECORD_ENDS_SOON: Explanation(
        Kind.REMARK,
        "the record ends soon",
        "When it has ended, other organisations send no health data directly any more.",
        "publish the record with a later enddate",
    ),
    Code.TLSA_MISMATCH: Explanation(
        Kind.REFUSAL,
        "the TLSA records of the host do not fit the certificate",
        "By mandatory DANE nobody can deliver to the host.",
        "publish the TLSA record of the certificate in use before the certificate is changed",
    ),
    Code.SMIMEA_ABSENT: Explanation(
        Kind.REMARK,
        "an address with an S/MIME certificate has no SMIMEA record",
        "Senders who look there do not find the certificate.",
        "publish the SMIMEA record",
    ),
    Code.SMIMEA_MISMATCH: Explanation(
        Kind.REFUSAL,
        "the SMIMEA records of the address do not hold its certificate",
        "Senders who look there encrypt for a key that is not, or no longer, in use.",
        "publish the SMIMEA record of the certificate in use",
    ),
    Code.SPF_ABSENT: Explanation(
        Kind.REFUSAL,
        "there is no SPF record",
        "The agreement asks for SPF, DKIM and DMARC, so that nobody sends in your name.",
        "publish a TXT record v=spf1 that names your servers and ends with -all",
    ),
    Code.SPF_SEVERAL: Explanation(
        Kind.REFUSAL,
        "there are several SPF records",
        "Receivers then treat all of them as an error (RFC 7208 section 4.5).",
        "keep one record",
    ),
    Code.SPF_NOT_STRICT: Explanation(
        Kind.REFUSAL,
        "the SPF record does not end with -all",
        "Mail of servers that it does not name is then not refused.",
        "end it with -all when every server is named",
    ),
    Code.DKIM_ABSENT: Explanation(
        Kind.REFUSAL,
        "there is no DKIM key under the selector",
        "Receivers cannot verify your signatures.",
        "publish the TXT record that the signer prints",
    ),
    Code.DKIM_REVOKED: Explanation(
        Kind.REFUSAL,
        "the DKIM record holds no key",
        "An empty key is a revoked one (RFC 6376 section 3.6.1).",
        "publish the key, or sign with another selector",
    ),
    Code.DMARC_ABSENT: Explanation(
        Kind.REFUSAL,
        "there is no DMARC record",
        "The agreement asks for SPF, DKIM and DMARC, so that nobody sends in your name.",
        "publish the TXT record _dmarc with v=DMARC1; p=reject",
    ),
    Code.DMARC_SEVERAL: Explanation(
        Kind.REFUSAL,
        "there are several DMARC records",
        "Receivers then ignore all of them (RFC 7489 section 6.6.3).",
        "keep one record",
    ),
    Code.DMARC_NOT_STRICT: Explanation(
        Kind.REFUSAL,
        "the DMARC policy is not strict",
        "With p=none, or a pct below 100, mail in your name that fails is delivered all the same.",
        "set p=reject or p=quarantine for all mail",
    ),
}
