"""S/MIME (RFC 8551): the CMS engine, certificates, trust, our keys and the recipients' certificates."""
