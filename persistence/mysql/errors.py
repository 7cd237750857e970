"""What MySQL and MariaDB say when they cannot do something, as our errors.

Only what blames the row itself is beyond trying again; an operator can mend all else (room, rights, a schema that is
behind, a server that is away or read-only), and a deadlock mends itself.
"""

from __future__ import annotations

from typing import Final

from pymysql.constants import CR, ER
from pymysql.err import Error

from persistence.errors import StoreError

__all__ = ["MysqlError", "mysql_error"]

_CHECK_FAILED_MARIADB, _CHECK_FAILED_MYSQL, _NO_JSON_MYSQL = 4025, 3819, 3140

_ROW_AT_FAULT: Final = frozenset(
    {
        ER.DATA_TOO_LONG,
        ER.WARN_DATA_OUT_OF_RANGE,
        ER.TRUNCATED_WRONG_VALUE,
        ER.TRUNCATED_WRONG_VALUE_FOR_FIELD,
        ER.WARN_DATA_TRUNCATED,
        ER.BAD_NULL_ERROR,
        ER.NET_PACKET_TOO_LARGE,
        _CHECK_FAILED_MARIADB,
        _CHECK_FAILED_MYSQL,
        _NO_JSON_MYSQL,
    }
)
_SCHEMA_BEHIND: Final = frozenset({ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR})
_PASSING: Final = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT})
_AWAY: Final = frozenset(
    {
        CR.CR_CONNECTION_ERROR,
        CR.CR_CONN_HOST_ERROR,
        CR.CR_SERVER_GONE_ERROR,
        CR.CR_SERVER_LOST,
        ER.CON_COUNT_ERROR,
        ER.SERVER_SHUTDOWN,
    }
)


class MysqlError(StoreError):
    """A server, or the way to it, failed; the transaction has not been committed unless its commit was under way."""

    def __init__(self, message: str, *, retriable: bool, code: int = 0) -> None:
        super().__init__(message, retriable=retriable)
        self.code = code
        """The server's or client library's number; 0 where there is none."""

    @property
    def duplicate(self) -> bool:
        """Whether a row with the same key is there already."""
        return self.code == ER.DUP_ENTRY

    @property
    def passing(self) -> bool:
        """Whether the transaction met another one and may be begun again at once."""
        return self.code in _PASSING

    @property
    def away(self) -> bool:
        """Whether the server cannot be reached, so that another one may be asked instead."""
        return self.code in _AWAY


def mysql_error(error: Exception, what: str) -> MysqlError:
    """The error to raise for what the driver raised while we did `what`."""
    if isinstance(error, TimeoutError):
        return MysqlError(f"{what}: no answer in time", retriable=True, code=CR.CR_SERVER_LOST)
    if isinstance(error, Error) and error.args and isinstance(error.args[0], int):
        code, *rest = error.args
        text = " ".join(str(part) for part in rest).strip() or "no word"
        todo = "; run `typegate migrate up`" if code in _SCHEMA_BEHIND else ""
        return MysqlError(f"{what}: {text} ({code}){todo}", retriable=code not in _ROW_AT_FAULT, code=code)
    # the connection broke in the middle of something that the library does not guard
    return MysqlError(f"{what}: {str(error) or type(error).__name__}", retriable=True, code=CR.CR_SERVER_LOST)
