"""The secure-download portal: the web pages on which a recipient reads and answers a message."""
