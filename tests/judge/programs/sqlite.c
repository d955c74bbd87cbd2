/* SPDX-License-Identifier: MIT */
/* SQLite in the middle of statements: functions, collations, and hooks that it calls are looked at. */
#include "../judge.h"

#include <stdio.h>
#include <string.h>

#include "sqlite3.h"

static void user_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    sqlite3_int64 sum = 0;
    for (int i = 0; i < count; i++)
        sum += sqlite3_value_int64(values[i]);
    judge_here("function");
    sqlite3_result_int64(context, sum);
}

static void step(sqlite3_context *context, int count, sqlite3_value **values)
{
    double *state = sqlite3_aggregate_context(context, sizeof(*state));
    if (state && count)
        *state += sqlite3_value_double(values[0]);
    judge_here("step");
}

static void final(sqlite3_context *context)
{
    double *state = sqlite3_aggregate_context(context, 0);
    judge_here("final");
    sqlite3_result_double(context, state ? *state : 0);
}

static int collate(void *closure, int a_size, const void *a, int b_size, const void *b)
{
    int size = a_size < b_size ? a_size : b_size;
    int order = memcmp(a, b, (size_t)size);
    judge_here("collate");
    judge_touch(closure);
    return order ? order : a_size - b_size;
}

static int row(void *closure, int count, char **values, char **names)
{
    int *rows = closure;
    ++*rows;
    judge_here("row");
    return count && values && names ? 0 : 1;
}

static int progress(void *closure)
{
    judge_here("progress");
    judge_touch(closure);
    return 0;
}

static int authorize(void *closure, int action, const char *a, const char *b, const char *c, const char *d)
{
    if (action == SQLITE_INSERT || action == SQLITE_SELECT)
        judge_here("authorize");
    judge_touch(closure), judge_touch(a), judge_touch(b), judge_touch(c), judge_touch(d);
    return SQLITE_OK;
}

static void update(void *closure, int action, const char *database, const char *table, sqlite3_int64 id)
{
    judge_here("update");
    judge_touch(closure), judge_touch(&action), judge_touch(database), judge_touch(table), judge_touch(&id);
}

static int commit(void *closure)
{
    judge_here("commit");
    judge_touch(closure);
    return 0;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    static const char sql[] =
        "create table t(id integer primary key, name text collate odd, price real);"
        "insert into t(name, price) values ('b', 1.5), ('a', 2.5), ('c', -1), ('aa', 0);"
        "create index i on t(name);"
        "with recursive n(x) as (select 1 union all select x + 1 from n where x < 300) select count(*) from n;"
        "select total_price(price), sum_of(1, 2) from t group by name having sum_of(id, 1) > 2 order by name desc;"
        "create trigger g after update on t begin select sum_of(new.id, old.id); end;"
        "update t set price = sum_of(id, 3) where name > 'a';"
        "select group_concat(name) over (order by sum_of(id, -id), name) from t where id in (select sum_of(id) from "
        "t);";
    sqlite3 *database;
    char *message = NULL;
    int rows = 0;
    int error = sqlite3_open(":memory:", &database);
    sqlite3_create_function(database, "sum_of", -1, SQLITE_UTF8, NULL, user_function, NULL, NULL);
    sqlite3_create_function(database, "total_price", 1, SQLITE_UTF8, NULL, NULL, step, final);
    sqlite3_create_collation(database, "odd", SQLITE_UTF8, NULL, collate);
    sqlite3_progress_handler(database, 1000, progress, &rows);
    sqlite3_set_authorizer(database, authorize, NULL);
    sqlite3_update_hook(database, update, &rows);
    sqlite3_commit_hook(database, commit, &rows);
    if (!error)
        error = sqlite3_exec(database, sql, row, &rows, &message);
    if (error)
        fprintf(stderr, "sqlite: %s\n", message);
    sqlite3_free(message);
    sqlite3_close(database);
    return error;
}
