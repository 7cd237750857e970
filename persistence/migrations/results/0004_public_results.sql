-- What its owner said last of who may see a result: in the result's shard, beside its row and not in it, so that no copy
-- of the result that comes later can change it. There is none of a result that was never public.
CREATE TABLE IF NOT EXISTS public_results (
    id BINARY(16) NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    public BOOLEAN NOT NULL,
    changes INT UNSIGNED NOT NULL COMMENT 'of two words on one result the one with more of them holds',
    KEY of_user (user_id, public)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
