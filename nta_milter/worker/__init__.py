"""The worker: hands to Postfix what is stored, hears from Postfix what became of it, and cleans up."""
