/* SPDX-License-Identifier: MIT */
/* The table for people, 80 columns wide, and the same as JSON for programs. */
#include "bench.h"

#include <math.h>
#include <string.h>

const char *bench_peer_name(const bench_result *result)
{
    if (result->row->peer_name)
        return result->row->peer_name;
    return result->group->peer_name ? result->group->peer_name : bench_python_name();
}

double bench_bound(const bench_result *result, double bound)
{
    if (bound <= 0 || result->row->slack <= 0)
        return bound;
    return bound + result->row->slack / result->value[BENCH_PEER];
}

enum bench_verdict bench_judge(const bench_result *result)
{
    const bench_row *row = result->row;
    if (row->must_value > 0 && result->value[BENCH_OURS] > row->must_value)
        return BENCH_MISSED;
    if (row->must > 0 && result->ratio > bench_bound(result, row->must))
        return BENCH_MISSED;
    if (row->goal > 0)
        return result->ratio <= bench_bound(result, row->goal) ? BENCH_GOAL : row->must > 0 ? BENCH_HELD : BENCH_SHORT;
    return row->must > 0 || row->must_value > 0 ? BENCH_HELD : BENCH_NO_BOUND;
}

static const char *const verdicts[] = {
    [BENCH_NO_BOUND] = "", [BENCH_MISSED] = "MISS", [BENCH_SHORT] = "no", [BENCH_HELD] = "yes", [BENCH_GOAL] = "goal"};

static const char *number(double value, int places)
{
    static char texts[8][24];
    static unsigned next;
    char *text = texts[next++ % 8];
    if (value < 0 || isnan(value))
        return "";
    snprintf(text, sizeof(texts[0]), "%.*f", places, value);
    return text;
}

static const char *figure(double value)
{
    return number(value < 0 ? 0 : value, value < 100 ? 2 : value < 10000 ? 1 : 0);
}

static const char *bound(double bound, double value_bound)
{
    static char text[24];
    if (bound > 0)
        return number(bound, 2);
    if (value_bound <= 0)
        return "";
    snprintf(text, sizeof(text), "<%g", value_bound);
    return text;
}

/* 27 for the name, the rest in columns of 4 to 8 behind a space each: 80 at most. */
void bench_table(const bench_result *results, int count)
{
    const char *peer = "";
    for (int i = 0; i < count; i++) {
        const bench_result *result = &results[i];
        const bench_row *row = result->row;
        if (i == 0 || results[i - 1].group != result->group) {
            printf("\n%s\n%-27s %6s %6s %5s %3s %4s %4s %4s %5s %5s\n", result->group->title, "",
                   row->unit ? row->unit : "ns", "peer", "ratio", "+-%", "must", "goal", "", "instr", "peer");
            peer = "";
        }
        if (strcmp(peer, bench_peer_name(result)) != 0)
            printf(" against %s:\n", peer = bench_peer_name(result));
        printf("%-27s %6s %6s %5s", row->name, figure(result->value[BENCH_OURS]), figure(result->value[BENCH_PEER]),
               number(result->ratio < 0 ? 0 : result->ratio, result->ratio < 0.1   ? 3
                                                             : result->ratio < 100 ? 2
                                                                                   : 0));
        printf(" %3s %4s %4s %4s %5s %5s\n", row->rounds == 1 ? "" : number(100 * result->spread, 0),
               bound(bench_bound(result, row->must), row->must_value), bound(bench_bound(result, row->goal), 0),
               verdicts[bench_judge(result)], number(result->instructions[BENCH_OURS], 0),
               number(result->instructions[BENCH_PEER], 0));
    }
}

int bench_summary(const bench_result *results, int count)
{
    int of[BENCH_GOAL + 1] = {0}, bounds = 0, goals = 0;
    for (int i = 0; i < count; i++) {
        of[bench_judge(&results[i])]++;
        bounds += results[i].row->must > 0 || results[i].row->must_value > 0;
        goals += results[i].row->goal > 0;
    }
    printf("%d of %d bounds hold, %d missed; %d of %d goals reached\n", bounds - of[BENCH_MISSED], bounds,
           of[BENCH_MISSED], of[BENCH_GOAL], goals);
    return of[BENCH_MISSED];
}

static void json_string(FILE *file, const char *key, const char *value)
{
    fprintf(file, "\"%s\": \"", key);
    for (; *value; value++)
        if (*value == '"' || *value == '\\')
            fprintf(file, "\\%c", *value);
        else if ((unsigned char)*value >= ' ')
            fputc(*value, file);
    fputs("\", ", file);
}

static void json_number(FILE *file, const char *key, double value, bool known)
{
    if (known && isfinite(value))
        fprintf(file, "\"%s\": %.4f, ", key, value);
    else
        fprintf(file, "\"%s\": null, ", key);
}

/* "ns" and "peer_ns" are in the row's "unit", which is "ns" but for memory. */
int bench_json(const char *path, const bench_result *results, int count)
{
    static const char *const holds[] = {[BENCH_NO_BOUND] = "null",
                                        [BENCH_MISSED] = "false",
                                        [BENCH_SHORT] = "null",
                                        [BENCH_HELD] = "true",
                                        [BENCH_GOAL] = "true"};
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    fputs("[\n", file);
    for (int i = 0; i < count; i++) {
        const bench_result *result = &results[i];
        const bench_row *row = result->row;
        fputs("  {", file);
        json_string(file, "group", result->group->title);
        json_string(file, "name", row->name + strspn(row->name, " "));
        json_string(file, "unit", row->unit ? row->unit : "ns");
        json_number(file, "ns", result->value[BENCH_OURS], true);
        json_string(file, "peer", bench_peer_name(result));
        json_number(file, "peer_ns", result->value[BENCH_PEER], true);
        json_number(file, "ratio", result->ratio, true);
        json_number(file, "spread", result->spread, row->rounds != 1);
        json_number(file, "must", bench_bound(result, row->must), row->must > 0);
        json_number(file, "must_value", row->must_value, row->must_value > 0);
        json_number(file, "goal", bench_bound(result, row->goal), row->goal > 0);
        json_number(file, "instructions", result->instructions[0], result->instructions[0] >= 0);
        json_number(file, "peer_instructions", result->instructions[1], result->instructions[1] >= 0);
        fprintf(file, "\"holds\": %s}%s\n", holds[bench_judge(result)], i + 1 < count ? "," : "");
    }
    fputs("]\n", file);
    bool failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}
