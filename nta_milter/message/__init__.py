"""Messages as bytes: spool, header fields, MIME, addresses, text of attachments. No network, no policy."""
