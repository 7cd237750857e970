-- Who may not come in: a user's id, or a network in CIDR notation. `until` NULL: for good.
CREATE TABLE IF NOT EXISTS bans (
    who VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    reason VARCHAR(200) NOT NULL,
    made_by VARCHAR(64) NOT NULL,
    since DATETIME(3) NOT NULL,
    until DATETIME(3) NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row: `mark` is random and another after each change of the bans, which its lock keeps one after the other.
CREATE TABLE IF NOT EXISTS ban_mark (
    one TINYINT UNSIGNED NOT NULL PRIMARY KEY,
    mark BINARY(16) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO ban_mark VALUES (1, x'00000000000000000000000000000000');
