"""Looking on at tests: what a node shows of its typists, and what it tells those of its connections who look on.

    session <─ pulled 10 times a second ─ Sight ─> bus ─> Gallery ─> everybody there, each encoding made once

Nobody who types does anything for it. A node tells all others, on one channel, at which tests its connections look on
(`Watching`); whoever has one of them shows it (`Sight`) on that test's own channel, as long as somebody looks; and each
node that looks on keeps what was shown (`Gallery`), so that who comes later, or reads slowly, is caught up with. A test
that nobody looks at costs nothing.

Who may look on: at a test that was started with `watch` whoever has its id; at any other its own user; at an own text
nobody. What the right hangs on, the user and the flag, is in the ticket, so it holds on whatever node the test is. The
answer to who may not is the one to who asks for what there is not, and it comes as late: nobody learns whether an id
is somebody's. Which keys are told, in tenths of a second; when exactly each was pressed is not, since that tells people
apart.

One looks on at a *typist*, not at one test: the next test on the same connection follows, as far as it may be seen.
What is asked for, by the id of one of the tests, is called the *thread*.
"""

from gateway.watching.facts import WatchFacts
from gateway.watching.watching import Watching

__all__ = ["WatchFacts", "Watching"]
