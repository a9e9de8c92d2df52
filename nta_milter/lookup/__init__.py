"""DNS look-ups with three-valued answers, and the cache of parsed values."""
