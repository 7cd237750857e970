"""What CI's MariaDB would let pass and MySQL would not."""

import re

import pytest

from persistence.mysql.migrating import Migration, migrations

RESERVED = """
accessible add all alter analyze and as asc asensitive before between bigint binary blob both by call cascade
case change char character check collate column condition constraint continue convert create cross cube
cume_dist current_date current_time current_timestamp current_user cursor database databases day_hour
day_microsecond day_minute day_second dec decimal declare default delayed delete dense_rank desc describe
deterministic distinct distinctrow div double drop dual each else elseif empty enclosed escaped except exists
exit explain external false fetch first_value float float4 float8 for force foreign from fulltext function
generated get grant group grouping groups having high_priority hour_microsecond hour_minute hour_second if
ignore in index infile inner inout insensitive insert int int1 int2 int3 int4 int8 integer intersect interval
into io_after_gtids io_before_gtids is iterate join json_table key keys kill lag last_value lateral lead
leading leave left library like limit linear lines load localtime localtimestamp lock long longblob longtext
loop low_priority match maxvalue mediumblob mediumint mediumtext middleint minute_microsecond minute_second
mod modifies natural no_write_to_binlog not nth_value ntile null numeric of on optimize optimizer_costs option
optionally or order out outer outfile over partition percent_rank precision primary procedure purge qualify
range rank read read_write reads real recursive references regexp release rename repeat replace require
resignal restrict return revoke right rlike row row_number rows schema schemas second_microsecond select
sensitive separator set show signal smallint spatial specific sql sql_big_result sql_calc_found_rows
sql_small_result sqlexception sqlstate sqlwarning ssl starting stored straight_join system table tablesample
terminated then tinyblob tinyint tinytext to trailing trigger true undo union unique unlock unsigned update
usage use using utc_date utc_time utc_timestamp values varbinary varchar varcharacter varying virtual when
where while window with write xor year_month zerofill
"""
"""MySQL's reserved words: INFORMATION_SCHEMA.KEYWORDS of 9.7, which has those of 8.0 and 8.4 and a few more."""

NAME = re.compile(r"(?m)^    (?:KEY )?([a-z_]+)\b")
"""A column or index where it is made. What stands in backticks may be called anything."""


@pytest.mark.parametrize(
    "migration", [*migrations("results"), *migrations("content")], ids=lambda migration: migration.title
)
def test_no_name_is_a_word_that_mysql_reserves(migration: Migration) -> None:
    assert not set(RESERVED.split()) & set(NAME.findall(migration.sql))


def test_a_migration_is_the_same_with_quotes_around_a_columns_name() -> None:
    """Databases that were migrated before it had them are not refused."""
    bare = Migration(1, "one", "CREATE TABLE t (\n    of INT NOT NULL -- as `of` is\n);\n")
    quoted = Migration(1, "one", "CREATE TABLE t (\n    `of` INT NOT NULL -- as `of` is\n);\n")
    other = Migration(1, "one", "CREATE TABLE t (\n    `of` INT NOT NULL -- as of is\n);\n")
    assert bare.digest == quoted.digest != other.digest
