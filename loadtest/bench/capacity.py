"""(c) Capacity: ever more typists of the bench mix at their own pace, and what that does to everybody's ticks."""

from __future__ import annotations

from typing import Any

from loadtest.bench.rounds import LIMIT_NOTE, Bench, Part, limit
from loadtest.client import ClientOptions
from loadtest.served import Served, raise_file_limit
from loadtest.swarm import Swarm, SwarmOptions

__all__ = ["capacity"]

_SPARE_FILES = 300  # the server keeps some for its databases, and answers 503 beyond


def capacity(bench: Bench) -> Part:
    """One swarm after the other, each against a fresh server."""
    files = raise_file_limit()
    steps = [2_500] if bench.quick else [5_000, 10_000, 15_000, 19_500]
    steps = [step for step in steps if step <= files - _SPARE_FILES] or [files - _SPARE_FILES]
    rows: list[list[object]] = []
    taken: list[dict[str, Any]] = []
    for at, typists in enumerate(steps):
        ramp_s = typists / (500 if bench.quick else 800)
        options = SwarmOptions(
            typists=typists,
            seconds=5.0 if bench.quick else 15.0,
            ramp_s=ramp_s,
            settle=False,
            processes=max(1, len(bench.cores)),
            cores=bench.cores,
            client=ClientOptions(check_every=20),
        )
        with Served.in_temporary_folder(core=bench.server_core) as server:
            swarm = Swarm(options, server.address, pid=lambda server=server: server.pid)  # type: ignore[misc]  # mypy takes no default in a lambda
            try:
                facts = swarm.run(
                    progress=lambda share, what, at=at, typists=typists: bench.progress(  # type: ignore[misc]  # the same
                        (at + share) / len(steps), f"{typists:,} typists: {what}"
                    )
                )
            finally:
                swarm.close()
        taken.append(facts)
        times = facts["times_ms"]
        answer, late = times.get("answer", {}), times.get("tick_late", {})
        own = times["generator_late"]["p99"]
        rows.append(
            [
                typists,
                facts["typing"],
                round(facts["frames_per_s"]),
                facts["server_cpu_percent"],
                facts["server_us_per_frame"],
                answer.get("p50"),
                answer.get("p99"),
                answer.get("p99_9"),
                late.get("p99"),
                times.get("key_to_tick", {}).get("p50"),
                times.get("key_to_tick", {}).get("p99"),
                facts["server_kib_per_connection"],
                facts["mismatched"],
                facts["generator_busiest_percent"],
                own,
                limit(facts["generator_busiest_percent"], own),
            ]
        )
    return Part(
        "(c) Capacity: typists of the bench mix at their own pace",
        (
            "typists",
            "typing",
            "frames/s",
            "server CPU %",
            "CPU µs a frame",
            "answer p50 ms",
            "p99",
            "p99.9",
            "tick late p99",
            "key → tick p50",
            "p99",
            "KiB a session",
            "mismatched",
            "generator CPU %",
            "late p99",
            "limit",
        ),
        rows,
        {"steps": taken},
        notes=(
            "answer: from a frame to its answer, amid the load; tick late: what a tick takes beyond its second. "
            "key → tick has the client's 230 ms and the second between ticks in it.",
            LIMIT_NOTE,
        ),
    )
