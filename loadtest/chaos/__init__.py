"""`make chaos`: everything dies by a seeded schedule while people type, and in the end all is there, once.

- `schedule`: what happens to which part, when and for how long: pure, the same for the same seed.
- `faults`: does it to a cluster (`loadtest.cluster`), ends it again, and sees when all is well.
- `typing`: the people.
- `watching`: what the run looked like from second to second.
- `checks`: what must hold at the end, and `races`: what must hold of the records of races,
  and `losses`: which of these may be lost.
- `run`: one run, from empty folder to verdict.
- `report`: the verdict and the timeline, as a page and as JSON.
"""
