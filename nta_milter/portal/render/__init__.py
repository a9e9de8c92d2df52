"""What a message looks like on a page and as files; every byte of it is hostile."""
