from collections.abc import Callable

import pytest

from loadtest.servers.addresses import Addresses
from persistence.mysql.dsn import Dsn
from tests.persistence.mysql_shards import make_database


@pytest.fixture
def database(mariadb_servers: Addresses, fresh_name: Callable[[str], str]) -> Dsn:
    """An empty database of the test's own."""
    return Dsn.parse(make_database(mariadb_servers["content"], fresh_name("database")))
