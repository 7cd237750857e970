-- One finished test. `core` has what no column has; persistence/results/mysql/rows.py says how. Partitions are made by
-- `typegate partitions ensure`; `pmax` stays empty. The key begins with the id, a UUIDv7, so rows lie in order of time.
CREATE TABLE IF NOT EXISTS test_results (
    id BINARY(16) NOT NULL,
    created_at DATETIME(3) NOT NULL,
    user_id BIGINT NOT NULL,
    test_id BIGINT NULL,
    type ENUM('words', 'time', 'quote', 'text', 'zen') NOT NULL,
    extent SMALLINT UNSIGNED NULL COMMENT 'words or seconds',
    language VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    wpm DECIMAL(7, 2) NOT NULL,
    raw_wpm DECIMAL(7, 2) NOT NULL,
    accuracy DECIMAL(5, 2) NOT NULL,
    errors MEDIUMINT UNSIGNED NOT NULL,
    duration_ms INT UNSIGNED NOT NULL,
    verdict ENUM('ok', 'review', 'void') NOT NULL COMMENT 'what holds; at least review while there are conflicts',
    ranked BOOLEAN NOT NULL COMMENT 'counts for its board while the verdict is ok',
    conflicts TINYINT UNSIGNED NOT NULL,
    seen_live SMALLINT UNSIGNED NOT NULL COMMENT 'events that arrived as they were typed',
    core VARBINARY(255) NOT NULL,
    detail JSON NULL COMMENT 'what a log cannot give: reasons of the verdict, tags, an own text',
    replay BLOB NOT NULL,
    origin MEDIUMINT UNSIGNED NOT NULL COMMENT 'of result_origins',
    PRIMARY KEY (id, created_at),
    KEY of_user (user_id, created_at DESC, id DESC),
    KEY of_test (test_id, user_id),
    KEY of_type (type)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
PARTITION BY RANGE COLUMNS (created_at) (PARTITION pmax VALUES LESS THAN (MAXVALUE));

-- Results that came when their partition was no more.
CREATE TABLE IF NOT EXISTS test_results_late (
    id BINARY(16) NOT NULL,
    created_at DATETIME(3) NOT NULL,
    user_id BIGINT NOT NULL,
    test_id BIGINT NULL,
    type ENUM('words', 'time', 'quote', 'text', 'zen') NOT NULL,
    extent SMALLINT UNSIGNED NULL,
    language VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    wpm DECIMAL(7, 2) NOT NULL,
    raw_wpm DECIMAL(7, 2) NOT NULL,
    accuracy DECIMAL(5, 2) NOT NULL,
    errors MEDIUMINT UNSIGNED NOT NULL,
    duration_ms INT UNSIGNED NOT NULL,
    verdict ENUM('ok', 'review', 'void') NOT NULL,
    ranked BOOLEAN NOT NULL,
    conflicts TINYINT UNSIGNED NOT NULL,
    seen_live SMALLINT UNSIGNED NOT NULL,
    core VARBINARY(255) NOT NULL,
    detail JSON NULL,
    replay BLOB NOT NULL,
    origin MEDIUMINT UNSIGNED NOT NULL,
    PRIMARY KEY (id),
    KEY of_user (user_id, created_at DESC, id DESC)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The copies of a session that lost against its row, the best first.
CREATE TABLE IF NOT EXISTS result_conflicts (
    id BINARY(16) NOT NULL,
    place TINYINT UNSIGNED NOT NULL,
    core_hash BINARY(16) NOT NULL,
    packed MEDIUMBLOB NOT NULL,
    PRIMARY KEY (id, place)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What many rows have in common: the node that attests, and the version of the scoring.
CREATE TABLE IF NOT EXISTS result_origins (
    number MEDIUMINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    node VARCHAR(255) NOT NULL,
    scoring_version VARCHAR(80) NOT NULL,
    UNIQUE KEY origin (node, scoring_version)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS personal_bests (
    user_id BIGINT NOT NULL,
    board VARCHAR(90) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    period ENUM('day', 'week', 'all') NOT NULL,
    starts DATE NOT NULL COMMENT '1970-01-01 for all time',
    id BINARY(16) NOT NULL,
    wpm DECIMAL(7, 2) NOT NULL,
    accuracy DECIMAL(5, 2) NOT NULL,
    PRIMARY KEY (user_id, board, period, starts),
    KEY ranking (board, period, starts, wpm DESC, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Recomputed from the rows of the day, never added up. `late`: of test_results_late alone.
CREATE TABLE IF NOT EXISTS user_progress (
    user_id BIGINT NOT NULL,
    day DATE NOT NULL,
    type ENUM('words', 'time', 'quote', 'text', 'zen') NOT NULL,
    late BOOLEAN NOT NULL,
    tests INT UNSIGNED NOT NULL,
    duration_ms BIGINT UNSIGNED NOT NULL,
    wpm DOUBLE NOT NULL,
    best_wpm DOUBLE NOT NULL,
    accuracy DOUBLE NOT NULL,
    PRIMARY KEY (user_id, day, type, late)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which shard this is. Every writing transaction holds a shared lock on its row, so whoever changes it waits for them.
CREATE TABLE IF NOT EXISTS shard_state (
    one TINYINT NOT NULL PRIMARY KEY,
    shard VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fingerprint BINARY(16) NOT NULL COMMENT 'of the map of buckets',
    moved INT UNSIGNED NOT NULL COMMENT 'number of the last change in bucket_moves',
    hot_since DATE NOT NULL COMMENT 'older results go to test_results_late'
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS bucket_moves (
    bucket SMALLINT UNSIGNED NOT NULL PRIMARY KEY,
    source VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    target VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    phase ENUM('copying', 'switched', 'done') NOT NULL,
    number INT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
