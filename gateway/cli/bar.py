"""The progress bar of commands that take long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["bar"]


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar, as a function that is told the step, the rows done, and of how many (0: nobody knows)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("looking", total=None)
        steps = [""]

        def told(step: str, done: int, total: int) -> None:
            if step != steps[0]:
                shown.reset(task, description=step)  # the time that is left is each step's own
                steps[0] = step
            shown.update(task, completed=done, total=total or None)

        yield told
