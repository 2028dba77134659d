#include "cli/top.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/admin_client.h"
#include "cli/command_line.h"
#include "cli/top_screen.h"
#include "cli/top_table.h"
#include "common/clock.h"

#define INTERVAL_DEFAULT 2
#define INTERVAL_MAX     3600
#define PAGE             1000
#define PATH_SIZE        64

static const char usage[] =
    "usage: terminals top [--once] [--interval SECONDS] [--sort idle|user|up|stops] [--url URL]\n"
    "\n"
    "Shows whose instances run, those in use first, and again every 2 s.\n"
    "  --once      prints once, whole, and ends; into a pipe it prints again and again without --once\n"
    "  --interval  seconds between two looks\n"
    "  --sort      the order: idle time, user, running time, or who will be stopped next\n"
    "  --url       another Terminals than this machine's\n"
    "\n"
    "Keys: i u t s choose the order, space looks now, q ends\n";

struct options {
    bool once;
    long interval;
    enum top_sort sort;
    const char *url;
};

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* Appends one page to `list`; *count: how many it had. */
static bool add_page(struct admin_client *client, struct json_object *list, size_t *count, struct error *err) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/terminals?limit=%d&offset=%zu", PAGE, json_object_array_length(list));
    cleanup_json struct json_object *page = admin_client_call(client, "GET", path, NULL, err);
    if (page == NULL) {
        return false;
    }
    if (!json_object_is_type(page, json_type_array)) {
        return error_set(err, ERROR_BACKEND, "the admin API answers with something that is no list");
    }
    *count = json_object_array_length(page);
    for (size_t i = 0; i < *count; i++) {
        if (json_object_array_add(list, json_object_get(json_object_array_get_idx(page, i))) != 0) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    return true;
}

/* The caller puts it; NULL with *err. */
static struct json_object *get_terminals(struct admin_client *client, struct error *err) {
    struct json_object *list = json_object_new_array();
    size_t count = PAGE;
    bool ok = list != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
    while (ok && count == PAGE) {
        ok = add_page(client, list, &count, err);
    }
    if (!ok) {
        json_object_put(list);
        return NULL;
    }
    return list;
}

static bool look(struct admin_client *client, const struct top_view *view, struct buffer *lines, struct error *err) {
    cleanup_json struct json_object *terminals = get_terminals(client, err);
    cleanup_json struct json_object *stats =
        terminals == NULL ? NULL : admin_client_call(client, "GET", "/stats", NULL, err);
    return stats != NULL &&
           (top_table_format(lines, view, terminals, stats) || error_set(err, ERROR_INTERNAL, "out of memory"));
}

/* --- showing ------------------------------------------------------------------------------------------------------ */

/* Whole tables one after the other: for pipes, and for --once. */
static bool print_tables(struct admin_client *client, const struct options *options, struct error *err) {
    for (;;) {
        const struct top_view view = {.sort = options->sort, .now_ms = clock_unix_ms()};
        cleanup_buffer struct buffer lines = {0};
        if (!look(client, &view, &lines, err)) {
            return false;
        }
        if (fwrite(lines.data, 1, lines.length, stdout) != lines.length || fflush(stdout) != 0) {
            return error_set_errno(err, ERROR_INTERNAL, "write the table");
        }
        if (options->once) {
            return true;
        }
        putchar('\n');
        poll(NULL, 0, (int)options->interval * 1000);
    }
}

static void choose(struct options *options, int key) {
    for (int sort = 0; sort < TOP_SORT_COUNT; sort++) {
        if (top_sort_names[sort].key == key) {
            options->sort = (enum top_sort)sort;
        }
    }
}

/* What cannot be looked at now is said in its place, and tried again. */
static bool draw_tables(struct admin_client *client, struct options *options, struct error *err) {
    int key = 0;
    bool ok = top_screen_open(err);
    if (!ok) {
        return false;
    }
    while (ok && key != -1 && key != 'q') {
        struct top_view view = {.sort = options->sort, .now_ms = clock_unix_ms()};
        cleanup_buffer struct buffer lines = {0};
        struct error failure = {0};
        top_screen_size(&view.columns, &view.rows);
        if (!look(client, &view, &lines, &failure)) {
            buffer_append_format(&lines, "%s\n", failure.message);
        }
        ok = top_screen_draw(&lines) || error_set_errno(err, ERROR_INTERNAL, "write to the terminal");
        key = ok ? top_screen_wait((int)options->interval * 1000) : -1;
        choose(options, key);
    }
    top_screen_close();
    return ok;
}

/* --- the command line --------------------------------------------------------------------------------------------- */

static bool parse_sort(const char *text, enum top_sort *sort, struct error *err) {
    for (int i = 0; i < TOP_SORT_COUNT; i++) {
        if (strcmp(text, top_sort_names[i].name) == 0) {
            *sort = (enum top_sort)i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "there is no order `%s`", text);
}

int top(int argc, char **argv) {
    struct options options = {.interval = INTERVAL_DEFAULT, .sort = TOP_SORT_IDLE};
    struct settings settings = {0};
    struct error err = {0};
    const char *interval = NULL;
    const char *sort = NULL;
    const struct command_argument arguments[] = {{"--once", .flag = &options.once},
                                                 {"--interval", .value = &interval},
                                                 {"--sort", .value = &sort},
                                                 {"--url", .value = &options.url},
                                                 {0}};
    int status = EXIT_SUCCESS;
    if (!command_line_read(usage, arguments, argc, argv, &status)) {
        return status;
    }
    if ((interval != NULL && !command_line_seconds(interval, 1, INTERVAL_MAX, &options.interval, &err)) ||
        (sort != NULL && !parse_sort(sort, &options.sort, &err))) {
        fprintf(stderr, "terminals top: %s\n\n", err.message);
        return command_line_refuse(usage);
    }
    struct admin_client *client = NULL;
    if (settings_load(&settings, NULL, &err)) {
        client = admin_client_open(&settings, options.url, &err);
        settings_free(&settings);
    }
    bool is_drawn = !options.once && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);
    bool ok = client != NULL && (is_drawn ? draw_tables(client, &options, &err) : print_tables(client, &options, &err));
    admin_client_close(client);
    if (!ok) {
        fprintf(stderr, "terminals top: %s\n", err.message);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
