"""What a test begins with: the ticket of what was chosen, and what its client is told of it."""

from scoring import SCORING_VERSION
from session.messages import Started
from session.options import TestOptions
from session.passages import Material
from session.receipt import Seat, Ticket, hash_of

__all__ = ["started", "ticket_of"]


def ticket_of(
    options: TestOptions,
    material: Material,
    *,
    session: bytes,
    user: int,
    seed: int,
    epoch_ms: int,
    node: str,
    seat: Seat | None,
) -> Ticket:
    """The ticket of a new test: what was chosen, and what it came to. Arguments as in `TypingSession.begin`."""
    return Ticket(
        session=session,
        user=user,
        options=TestOptions(
            mode=options.mode,
            count=options.count,
            seconds=options.seconds,
            test=material.test,
            language=material.language,
            punctuation=options.punctuation,
            numbers=options.numbers,
            tags=options.tags,
            input=options.input,
            watch=options.watch,
        ),
        seed=seed,
        test_version=material.test_version,
        list_version=material.list_version,
        generator=material.generator,
        text_hash=hash_of(material.text.encode()),
        scoring_version=SCORING_VERSION,
        started_ms=epoch_ms,
        node=node,
        seat=seat,
    )


def started(ticket: Ticket, sealed: bytes, material: Material, *, ref: int | None) -> Started:
    """The answer to `start`: all that it takes to type the test, and to resume it."""
    options, seat = ticket.options, ticket.seat
    return Started(
        session=ticket.session,
        ref=ref,
        mode=options.mode,
        count=options.count,
        seconds=options.seconds,
        test=options.test,
        title=material.title,
        text=material.text,
        seed=ticket.seed,
        ticket=sealed,
        language=material.language,
        direction=material.direction,
        breaks=material.breaks,
        word_lengths=material.word_lengths,
        cyclic=material.cyclic,
        input=options.input,
        punctuation=options.punctuation,
        numbers=options.numbers,
        race=None if seat is None else seat.race,
        lane=None if seat is None else seat.lane,
        start_ms=None if seat is None else seat.start_ms,
    )
