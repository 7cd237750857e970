"""From a record to a result that can be believed, or to the reason why not."""

from __future__ import annotations

from persistence.stream import record as stream_record
from persistence.workers.batch import Undecodable
from persistence.workers.checking import Implausible, check
from persistence.workers.feed import Record
from session.result import Result

__all__ = ["decode"]


def decode(record: Record) -> Result:
    """The result that a record holds. Raises `Undecodable`, whatever the record does to us."""
    try:
        result = stream_record.decode(record.key, record.value, record.headers)
        check(result)
    except stream_record.NewerSchema as error:
        raise Undecodable(str(error), reason="newer") from None
    except stream_record.Malformed as error:
        raise Undecodable(str(error)) from None
    except Implausible as error:
        raise Undecodable(str(error), reason="implausible") from None
    except Exception as error:  # a bug of ours that this record has found must not hold up those behind it
        raise Undecodable(f"decoding it failed: {error!r}", reason="fault") from error
    return result
