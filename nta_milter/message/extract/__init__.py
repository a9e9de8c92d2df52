"""Text out of attachments, one file per format; each gives what it finds and says what it cannot read."""
