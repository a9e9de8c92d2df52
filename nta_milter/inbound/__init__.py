"""Mail that arrives: opened for those to whom a key is bound, verified, marked."""
