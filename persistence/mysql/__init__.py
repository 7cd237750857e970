"""MySQL as this project uses it: addresses, shards, pools with limits, errors, migrations. What is kept there is said
elsewhere (`persistence.results.mysql`, `persistence.catalogue.mysql`).

For MariaDB and MySQL alike: SQL keeps to what both have, so nothing here asks which of them a server is. CI's tests run
on MariaDB 10.11; `loadtest.servers.dialects` says how the same tests run on a MySQL, as they were on 9.7.
"""

from persistence.mysql.errors import MysqlError
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool

__all__ = ["Connection", "MysqlError", "MysqlOptions", "Pool"]
