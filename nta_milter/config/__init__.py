"""The configuration: a frozen model, how TOML becomes it, and where secrets come from."""
