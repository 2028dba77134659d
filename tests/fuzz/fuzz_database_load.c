// LINK: provisioner
/* The dump in a backup that `terminals restore` is given: it is loaded whole, and a dump of what came of it is the same
 * again when it is loaded, or it is refused with a reason and the database is as it was. Where the first byte is no
 * `{`, it stands for the first line. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/database_dump.h"
#include "provisioner/migrations.h"

#define FIRST_LINE_SIZE 128

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct database *database;
static char *content; /* a dump of what is in it */

static void require(bool truth) {
    if (!truth) {
        abort();
    }
}

static bool load(const char *text, size_t length, struct error *err) {
    FILE *in = fmemopen((void *)(uintptr_t)text, length, "r");
    require(in != NULL);
    bool ok = database_load(database, in, "this-restore", err);
    fclose(in);
    return ok;
}

/* The caller frees it. */
static char *dump(void) {
    struct error err = {0};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    require(out != NULL && database_dump(database, out, &err));
    fclose(out);
    return text;
}

/* SQLite's own file system in memory in place of the disk's. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    struct error err = {0};
    (void)argc;
    (void)argv;
    require(sqlite3_initialize() == SQLITE_OK && sqlite3_vfs_register(sqlite3_vfs_find("memdb"), 1) == SQLITE_OK);
    database = database_open("sqlite:///dump", NULL, DATABASE_SHARED, &err);
    require(database != NULL && migrations_run(database, migrations_sqlite, &err));
    content = dump();
    return 0;
}

static char *with_first_line(const uint8_t *data, size_t size, size_t *length) {
    char *text = malloc(FIRST_LINE_SIZE + size);
    int first = 0;
    require(text != NULL);
    if (data[0] != '{') {
        first = snprintf(text, FIRST_LINE_SIZE, "{\"format\":1,\"version\":%d,\"audit_sequence\":%d}\n",
                         migrations_newest(migrations_sqlite), data[0]);
        data++;
        size--;
    }
    memcpy(text + first, data, size);
    *length = (size_t)first + size;
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    size_t length = 0;
    if (size == 0) {
        return 0;
    }
    char *text = with_first_line(data, size, &length);
    bool is_loaded = load(text, length, &err);
    char *after = dump();
    if (is_loaded) {
        require(load(after, strlen(after), &err));
        char *again = dump();
        require(strcmp(after, again) == 0);
        free(again);
    } else {
        require(err.code != ERROR_NONE && err.message[0] != '\0' && strcmp(content, after) == 0);
    }
    free(content);
    content = after;
    free(text);
    return 0;
}
