from tests.unit.store.conftest import _postgresql, database, server  # noqa: F401 - both kinds of database
