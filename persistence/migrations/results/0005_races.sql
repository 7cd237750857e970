-- Races that are over: in the shard of their id's bucket, whoever was in them, each with its racers in one transaction.
-- `packed` is session.race_record's. Races older than the hot results are deleted by upkeep.
CREATE TABLE IF NOT EXISTS races (
    id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    bucket SMALLINT UNSIGNED NOT NULL,
    started_at DATETIME(3) NOT NULL,
    version BIGINT UNSIGNED NOT NULL COMMENT 'of several records of a race the one of the greatest is kept',
    packed MEDIUMBLOB NOT NULL,
    KEY of_bucket (bucket, id),
    KEY of_time (started_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who was in them; ghosts are nobody.
CREATE TABLE IF NOT EXISTS race_racers (
    race_id CHAR(13) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    lane TINYINT UNSIGNED NOT NULL,
    user_id BIGINT NOT NULL,
    started_at DATETIME(3) NOT NULL,
    PRIMARY KEY (race_id, lane),
    KEY of_user (user_id, started_at DESC, race_id DESC)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
