/* top_table.h - what `terminals top` shows, as text: some lines about all, and a line an instance. */
#ifndef TERMINALS_CLI_TOP_TABLE_H
#define TERMINALS_CLI_TOP_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/json.h"

enum top_sort { TOP_SORT_IDLE, TOP_SORT_USER, TOP_SORT_UP, TOP_SORT_STOPS, TOP_SORT_COUNT };

/* What a sort order is called, and the key that chooses it. */
extern const struct top_sort_name {
    const char *name;
    char key;
} top_sort_names[TOP_SORT_COUNT];

struct top_view {
    enum top_sort sort;
    size_t columns; /* lines are cut there; 0: they are not */
    size_t rows;    /* of all; 0: any number */
    int64_t now_ms; /* Unix */
};

/* Appends the lines, each with its line feed. `terminals` is the array of GET /terminals, which is put in order here;
 * `stats` the object of GET /stats. Nothing that a user chose reaches the terminal but printable characters. False: no
 * memory. */
bool top_table_format(struct buffer *out, const struct top_view *view, struct json_object *terminals,
                      struct json_object *stats);

#endif
