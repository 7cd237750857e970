"""MySQL as this project uses it: addresses, shards, pools with limits, errors, migrations. What is kept there is said
elsewhere (`persistence.results.mysql`, `persistence.catalogue.mysql`).

Written for MySQL 8 and MariaDB 10.11; tests run on MariaDB.
"""

from persistence.mysql.errors import MysqlError
from persistence.mysql.options import MysqlOptions
from persistence.mysql.pool import Connection, Pool

__all__ = ["Connection", "MysqlError", "MysqlOptions", "Pool"]
