#include "cli/top_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/text.h"

#define USER_CHARACTERS 28
#define NAME_CHARACTERS 16
#define HEAD_LINES      4
#define DURATION_SIZE   24

const struct top_sort_name top_sort_names[TOP_SORT_COUNT] = {
    [TOP_SORT_IDLE] = {"idle", 'i'},
    [TOP_SORT_USER] = {"user", 'u'},
    [TOP_SORT_UP] = {"up", 't'},
    [TOP_SORT_STOPS] = {"stops", 's'},
};

/* --- order -------------------------------------------------------------------------------------------------------- */

static int compare_texts(struct json_object *one, struct json_object *other, const char *key, const char *absent) {
    const char *left = json_get_string(one, key);
    const char *right = json_get_string(other, key);
    return strcmp(left == NULL ? absent : left, right == NULL ? absent : right);
}

static int compare_users(struct json_object *one, struct json_object *other) {
    static const char *const keys[] = {"user_id", "policy_id", "context_id"};
    int order = 0;
    for (size_t i = 0; order == 0 && i < sizeof keys / sizeof keys[0]; i++) {
        order = compare_texts(one, other, keys[i], "");
    }
    return order;
}

/* What is in use at this moment comes before all that is not. */
static int compare_idle(struct json_object *one, struct json_object *other) {
    bool left_is_kept = json_get_string(one, "kept_alive_by") != NULL;
    bool right_is_kept = json_get_string(other, "kept_alive_by") != NULL;
    int64_t left = json_get_int(one, "idle_seconds", 0);
    int64_t right = json_get_int(other, "idle_seconds", 0);
    return left_is_kept != right_is_kept ? right_is_kept - left_is_kept : (left > right) - (left < right);
}

static int compare(const void *a, const void *b, void *argument) {
    struct json_object *one = *(struct json_object *const *)a;
    struct json_object *other = *(struct json_object *const *)b;
    const enum top_sort *sort = argument;
    int order = 0;
    switch (*sort) {
    case TOP_SORT_UP: /* times as RFC 3339 are in order as texts; who does not run yet comes last */
        order = compare_texts(one, other, "started_at", "~");
        break;
    case TOP_SORT_STOPS:
        order = compare_texts(one, other, "stops_at", "~");
        break;
    case TOP_SORT_IDLE:
        order = compare_idle(one, other);
        break;
    default:
        break;
    }
    return order != 0 ? order : compare_users(one, other);
}

/* --- text --------------------------------------------------------------------------------------------------------- */

/* A character that a terminal would obey: C0, DEL, and C1 (U+0080 to U+009F). */
static bool is_control(const char *text, size_t length) {
    unsigned char first = (unsigned char)text[0];
    return first < ' ' || first == 0x7f || (length == 2 && first == 0xc2 && (unsigned char)text[1] < 0xa0);
}

/* Up to `wanted` characters, and spaces up to there and one more; `…` ends what was longer. */
static void add_cell(struct buffer *out, const char *text, size_t wanted) {
    size_t shown = 0;
    text = text == NULL ? "-" : text;
    while (*text != '\0' && shown < wanted) {
        size_t length = text_utf8_character_length(text);
        size_t step = length == 0 ? 1 : length;
        if (shown + 1 == wanted && text[step] != '\0') {
            buffer_append_string(out, "…");
        } else if (length == 0 || is_control(text, length)) {
            buffer_append(out, "?", 1);
        } else {
            buffer_append(out, text, length);
        }
        text += step;
        shown++;
    }
    buffer_append_format(out, "%*s", (int)(wanted - shown + 1), "");
}

/* `3s`, `12m05s`, `7h03m`, `12d04h`. */
static void format_duration(int64_t seconds, char out[DURATION_SIZE]) {
    if (seconds < 60) {
        snprintf(out, DURATION_SIZE, "%llds", (long long)(seconds < 0 ? 0 : seconds));
    } else if (seconds < 3600) {
        snprintf(out, DURATION_SIZE, "%lldm%02llds", (long long)seconds / 60, (long long)seconds % 60);
    } else if (seconds < 86400) {
        snprintf(out, DURATION_SIZE, "%lldh%02lldm", (long long)seconds / 3600, (long long)seconds / 60 % 60);
    } else {
        snprintf(out, DURATION_SIZE, "%lldd%02lldh", (long long)seconds / 86400, (long long)seconds / 3600 % 24);
    }
}

/* How long from (or until) a time; `-` if there is none. */
static void format_time(struct json_object *object, const char *key, int64_t now_ms, bool is_ahead,
                        char out[DURATION_SIZE]) {
    int64_t at_ms = 0;
    const char *text = json_get_string(object, key);
    if (text == NULL || !clock_parse_rfc3339(text, &at_ms)) {
        strcpy(out, "-"); /* NOLINT: it fits */
        return;
    }
    format_duration((is_ahead ? at_ms - now_ms : now_ms - at_ms) / 1000, out);
}

static void add_row(struct buffer *out, const struct top_view *view, struct json_object *terminal) {
    char idle[DURATION_SIZE];
    char up[DURATION_SIZE];
    char stops[DURATION_SIZE];
    char address[64] = "-";
    const char *host = json_get_string(terminal, "host");
    format_duration(json_get_int(terminal, "idle_seconds", 0), idle);
    format_time(terminal, "started_at", view->now_ms, false, up);
    format_time(terminal, "stops_at", view->now_ms, true, stops);
    if (host != NULL) {
        snprintf(address, sizeof address, "%s:%lld", host, (long long)json_get_int(terminal, "port", 0));
    }
    add_cell(out, json_get_string(terminal, "user_id"), USER_CHARACTERS);
    add_cell(out, json_get_string(terminal, "policy_id"), NAME_CHARACTERS);
    add_cell(out, json_get_string(terminal, "context_id"), NAME_CHARACTERS);
    buffer_append_format(
        out, "%-12s %7s %-8s %7s %7s  %s", json_get_string(terminal, "status"), idle,
        json_get_string(terminal, "kept_alive_by") == NULL ? "-" : json_get_string(terminal, "kept_alive_by"), up,
        stops, address);
}

static void add_head(struct buffer *out, const struct top_view *view, size_t count, struct json_object *stats) {
    char now[CLOCK_RFC3339_SIZE];
    struct json_object *starts = json_get_object(stats, "cold_starts");
    clock_format_rfc3339(view->now_ms, now);
    now[strlen("2026-11-23T18:00:00")] = '\0';
    buffer_append_format(out, "terminals  %sZ  %zu instances, by %s\n", now, count, top_sort_names[view->sort].name);
    buffer_append_format(
        out, "requests %lld  WebSockets %lld  cold starts %lld (%lld failed, p50 %lld ms, p99 %lld ms)\n\n",
        (long long)json_get_int(stats, "requests", 0), (long long)json_get_int(stats, "active_ws_connections", 0),
        (long long)json_get_int(starts, "total", 0), (long long)json_get_int(starts, "failed", 0),
        (long long)json_get_int(starts, "p50_ms", 0), (long long)json_get_int(starts, "p99_ms", 0));
    add_cell(out, "USER", USER_CHARACTERS);
    add_cell(out, "POLICY", NAME_CHARACTERS);
    add_cell(out, "CONTEXT", NAME_CHARACTERS);
    buffer_append_format(out, "%-12s %7s %-8s %7s %7s  %s\n", "STATUS", "IDLE", "KEPT BY", "UP", "STOPS", "ADDRESS");
}

/* Cuts the lines from `start` on at a number of characters. */
static bool cut_lines(struct buffer *out, size_t start, size_t columns) {
    cleanup_buffer struct buffer cut = {0};
    size_t column = 0;
    for (size_t i = start; i < out->length;) {
        size_t length = text_utf8_character_length(out->data + i);
        length = length == 0 ? 1 : length;
        bool is_end = out->data[i] == '\n';
        if (is_end || column < columns) {
            buffer_append(&cut, out->data + i, length);
        }
        column = is_end ? 0 : column + 1;
        i += length;
    }
    out->length = start;
    return !cut.failed && (cut.length == 0 || buffer_append(out, cut.data, cut.length));
}

bool top_table_format(struct buffer *out, const struct top_view *view, struct json_object *terminals,
                      struct json_object *stats) {
    size_t count = json_object_array_length(terminals);
    struct json_object **rows = calloc(count + 1, sizeof(struct json_object *));
    size_t start = out->length;
    size_t shown = view->rows == 0 ? count : view->rows > HEAD_LINES ? view->rows - HEAD_LINES : 0;
    enum top_sort sort = view->sort;
    if (rows == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = json_object_array_get_idx(terminals, i);
    }
    qsort_r(rows, count, sizeof(struct json_object *), compare, &sort);
    add_head(out, view, count, stats);
    for (size_t i = 0; i < count && i < shown; i++) {
        add_row(out, view, rows[i]);
        buffer_append(out, "\n", 1);
    }
    free(rows);
    return !out->failed && (view->columns == 0 || cut_lines(out, start, view->columns));
}
