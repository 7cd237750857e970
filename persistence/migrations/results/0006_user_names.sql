-- What accounts are called, by what their sign-in said last; empty: by nothing of their own any more.
CREATE TABLE IF NOT EXISTS user_names (
    user_id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(80) NOT NULL,
    changes INT UNSIGNED NOT NULL COMMENT 'of two words on one user the one with more of them holds'
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
