"""How a recipient proves who he is, besides having the link."""
