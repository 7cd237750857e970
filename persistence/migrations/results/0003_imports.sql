-- Imports of old installations, by `typegate migrate import`. A source's rows here lie in one shard, those of
-- `imported_results` in the shards where the results were written.
CREATE TABLE IF NOT EXISTS imports (
    source VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    address VARCHAR(320) NOT NULL COMMENT 'where the old database was last time',
    rules VARCHAR(400) NOT NULL COMMENT 'how its rows are read',
    done_to BIGINT NULL COMMENT 'old ids up to this one have been read',
    changed_to DATETIME(6) NULL COMMENT 'changes up to this updated_at have been read; as the old database tells time',
    finished_at DATETIME(3) NULL COMMENT 'when a run last came to its end; UTC'
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which old result became which. It may be emptied when there will be no further run.
CREATE TABLE IF NOT EXISTS imported_results (
    source VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    old_id BIGINT NOT NULL,
    id BINARY(16) NOT NULL,
    seen BIGINT UNSIGNED NOT NULL COMMENT 'checksum of the old row, and of how it was read',
    `stored` INT UNSIGNED NOT NULL COMMENT 'checksum of what was written',
    PRIMARY KEY (source, old_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Old rows that could not be imported.
CREATE TABLE IF NOT EXISTS import_faults (
    source VARCHAR(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    of_table ENUM('tests', 'test_results') NOT NULL,
    old_id BIGINT NOT NULL,
    seen BIGINT UNSIGNED NOT NULL,
    imported BOOLEAN NOT NULL COMMENT 'an earlier form of it is imported, and stays',
    reason VARCHAR(600) NOT NULL,
    excerpt VARCHAR(600) NOT NULL,
    PRIMARY KEY (source, of_table, old_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
