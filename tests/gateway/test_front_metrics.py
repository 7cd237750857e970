from functools import partial
from pathlib import Path

from gateway import front_metrics
from gateway.exposition import Exposition
from persistence.boards import BoardsOptions
from persistence.cache import CacheOptions
from persistence.catalogue import EmbeddedCatalogue
from persistence.front import in_front_of
from persistence.redis import RedisOptions
from persistence.results import Board, Period, Span, SqliteResults
from tests.gateway.test_metrics import figures, labels
from tests.persistence.samples import ranked


async def test_caches_boards_and_redis_are_counted(tmp_path: Path) -> None:
    metrics = Exposition()
    redis = RedisOptions(url="redis://127.0.0.1:1")
    async with (
        SqliteResults(tmp_path / "results.db") as store,
        EmbeddedCatalogue(None) as catalogue,
        in_front_of(
            store,
            redis=RedisOptions(),
            cache=CacheOptions(),
            boards=BoardsOptions(),
            alone=True,
            catalogue=catalogue,
        ) as here,
        in_front_of(store, redis=redis, cache=CacheOptions(), boards=BoardsOptions(), alone=True) as away,
    ):
        await here.recent.of(7)
        await here.recent.of(7)
        await here.boards.page(Board("time", 15, "en"), Period(Span.ALL, 0), offset=0, count=9)
        await here.boards.submit(await store.write([ranked(0, wpm=80)]))
        await away.recent.of(7)
        await away.boards.page(Board("time", 15, "en"), Period(Span.ALL, 0), offset=0, count=9)
        assert here.contents is not None
        await here.contents.of(1_000_000_001)
        metrics.ask(partial(front_metrics.families, here))
        shown = await figures(metrics)
        assert shown["typegate_cache_requests_total", labels(cache="recent", outcome="hit")] == 1
        assert shown["typegate_cache_requests_total", labels(cache="recent", outcome="miss")] == 1
        assert shown["typegate_cache_requests_total", labels(cache="content", outcome="hit")] == 1
        assert shown["typegate_board_reads_total", labels(by="board")] == 1
        assert shown["typegate_board_reads_total", labels(by="store")] == 0
        assert shown["typegate_board_fillings_total", labels(outcome="done")] == 1
        assert shown["typegate_board_bests_total", labels()] == 1
        assert ("typegate_redis_away", labels()) not in shown
        metrics = Exposition()
        metrics.ask(partial(front_metrics.families, away))
        shown = await figures(metrics)
        assert shown["typegate_cache_requests_total", labels(cache="recent", outcome="error")] == 1
        assert shown["typegate_board_reads_total", labels(by="store")] == 1
        assert shown["typegate_redis_away", labels()] == 1
        assert shown["typegate_redis_calls_total", labels(outcome="failed")] >= 2
