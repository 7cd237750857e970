-- Whom each of the last changes of the bans concerned, so that a server reads what changed and not all of it. Whoever is
-- named here and is not in `bans` is banned no more. `mark` is the one that the change left in `ban_mark`: a server whose
-- last mark is not here, or that finds another one there than here last, reads all of it.
CREATE TABLE IF NOT EXISTS ban_changes (
    number BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    mark BINARY(16) NOT NULL,
    who VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    KEY of_mark (mark)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
