#include "provisioner/haproxy_stat.h"

#include <stdlib.h>
#include <string.h>

#define COLUMN "req_tot"
/* Where clients come in. A request whose instance was gone passes `recover` besides; at `exporter` we ask ourselves. */
#define PUBLIC "public,"

/* The length of the field that `text` begins with. Fields that matter here are never quoted. */
static size_t field_length(const char *text) {
    return strcspn(text, ",\n");
}

/* Which column of the header line is ours, or -1. */
static int find_column(const char *header) {
    for (int column = 0;; column++) {
        size_t length = field_length(header);
        if (length == strlen(COLUMN) && strncmp(header, COLUMN, length) == 0) {
            return column;
        }
        if (header[length] != ',') {
            return -1;
        }
        header += length + 1;
    }
}

static const char *find_field(const char *line, int column) {
    for (; column > 0; column--) {
        size_t length = field_length(line);
        if (line[length] != ',') {
            return NULL;
        }
        line += length + 1;
    }
    return line;
}

int64_t haproxy_stat_requests(const char *csv) {
    int column = find_column(csv);
    if (column < 0) {
        return -1;
    }
    for (const char *line = strchr(csv, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        const char *field = strncmp(line, PUBLIC, strlen(PUBLIC)) == 0 ? find_field(line, column) : NULL;
        if (field != NULL) {
            return strtoll(field, NULL, 10);
        }
    }
    return 0;
}
