"""Is a domain compliant (NTA 7516): the record's grammar, DANE, one report per domain."""
