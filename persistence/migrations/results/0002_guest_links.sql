-- Whose past is whose account's: in the guest's shard, where the key lets a guest have one account alone ...
CREATE TABLE IF NOT EXISTS guest_links (
    guest_id BIGINT NOT NULL PRIMARY KEY,
    account_id BIGINT NOT NULL,
    claimed_at DATETIME(3) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- ... and in the account's shard, by which it is read. A row is here only if the account has won the guest there.
CREATE TABLE IF NOT EXISTS account_guests (
    account_id BIGINT NOT NULL,
    guest_id BIGINT NOT NULL,
    claimed_at DATETIME(3) NOT NULL,
    PRIMARY KEY (account_id, guest_id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
