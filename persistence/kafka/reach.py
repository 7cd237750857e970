"""Why no broker can be reached: aiokafka says only that it is so, and what to mend depends on it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.util import wait_for

__all__ = ["why_unreachable"]


async def why_unreachable(arguments: Mapping[str, Any]) -> str:
    """What the first of the configured brokers has against us, in a few words. `arguments`: a client's."""
    server = arguments["bootstrap_servers"][0]
    host, _, port = server.rpartition(":")
    rest = {name: value for name, value in arguments.items() if name != "bootstrap_servers"}
    limit_s = arguments["request_timeout_ms"] / 1000
    try:
        connection = await wait_for(create_conn(host.strip("[]"), int(port), **rest), limit_s)
    except TimeoutError:
        return f"{server} does not answer within {limit_s:g} s"
    except ssl.SSLCertVerificationError as fault:
        return f"{server}: certificate verify failed: {fault.verify_message}"
    except (ssl.SSLError, KafkaError) as fault:
        return f"{server}: {fault}"
    except OSError as fault:
        return f"{server}: {os.strerror(fault.errno) if fault.errno and fault.errno > 0 else fault}"
    connection.close()
    return f"{server} answers by now"
