-- Which changes there were. An addition locks row 0, so that additions happen one after the other and are seen in the
-- order of their numbers. `mark` is random: it tells a change from another of its number, after a failover that lost one.
CREATE TABLE IF NOT EXISTS catalogue_revisions (
    revision BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    mark BINARY(16) NOT NULL,
    created_at DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO catalogue_revisions VALUES (0, x'00000000000000000000000000000000', '1970-01-01 00:00:00.000');

-- Every version of every test. Rows are added, never changed and never deleted: results name them.
CREATE TABLE IF NOT EXISTS tests (
    id BIGINT NOT NULL,
    version INT UNSIGNED NOT NULL,
    title VARCHAR(500) NOT NULL,
    text MEDIUMTEXT NOT NULL,
    category VARCHAR(100) NOT NULL,
    difficulty ENUM('easy', 'medium', 'hard') NOT NULL,
    language VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'BCP 47',
    words INT UNSIGNED NOT NULL,
    created_at DATETIME(3) NOT NULL,
    source VARCHAR(500) NULL COMMENT 'where an imported text came from',
    revision BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (id, version),
    KEY of_category (category),
    KEY of_difficulty (difficulty),
    KEY of_revision (revision)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which test a row of another site became, so that importing it again is a version of the same.
CREATE TABLE IF NOT EXISTS test_origins (
    digest BINARY(16) NOT NULL PRIMARY KEY COMMENT 'of origin: BLAKE2b',
    origin TEXT NOT NULL,
    id BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Every version of every list of a language's common words; the words are parted by line feeds.
CREATE TABLE IF NOT EXISTS word_lists (
    language VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    version INT UNSIGNED NOT NULL,
    name VARCHAR(500) NOT NULL,
    direction ENUM('ltr', 'rtl') NOT NULL,
    words MEDIUMTEXT NOT NULL,
    created_at DATETIME(3) NOT NULL,
    revision BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (language, version),
    KEY of_revision (revision)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
