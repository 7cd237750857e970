"""From a record to a result, or a race, that can be believed, or to the reason why not."""

from __future__ import annotations

from typing import Final

from persistence.stream import record as stream_record
from persistence.workers import typed
from persistence.workers.batch import Undecodable
from persistence.workers.checking import Implausible, check
from persistence.workers.feed import Record
from session.race_record import RaceRecord
from session.result import Result

__all__ = ["decode"]

_SCHEMA: Final = ("schema", str(stream_record.SCHEMA).encode())


def decode(record: Record) -> Result | RaceRecord:
    """The result, or the race's record, that a record holds. Raises `Undecodable`, whatever the record does to us."""
    try:
        if record.value is not None and _SCHEMA in record.headers:
            result = typed.read(record.value)
            if result is not None and record.key == stream_record.key_of(result.user):
                return result
        found = stream_record.read(record.key, record.value, record.headers)
        if isinstance(found, Result):
            check(found)
    except stream_record.NewerSchema as error:
        raise Undecodable(str(error), reason="newer") from None
    except stream_record.Malformed as error:
        raise Undecodable(str(error)) from None
    except Implausible as error:
        raise Undecodable(str(error), reason="implausible") from None
    except Exception as error:  # a bug of ours that this record has found must not hold up those behind it
        raise Undecodable(f"decoding it failed: {error!r}", reason="fault") from error
    return found
