#include "instance/folder_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES (32 * 1024)

static size_t offset_at(const char *place) {
    size_t offset;
    memcpy(&offset, place, sizeof(offset));
    return offset;
}

/* By bytes, which for UTF-8 is the order of code points. */
static int compare(const void *a, const void *b, void *text) {
    return strcmp((const char *)text + offset_at(a), (const char *)text + offset_at(b));
}

static void add_name(struct folder_names *names, const struct dirent64 *entry) {
    const char *name = entry->d_name;
    if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'))) {
        return;
    }
    size_t offset = names->text.length + 1;
    buffer_append(&names->offsets, &offset, sizeof(offset));
    buffer_append(&names->text, &entry->d_type, 1);
    buffer_append(&names->text, name, strlen(name) + 1);
}

/* Not readdir(3), which would want the descriptor for itself and asks the kernel three things more. */
bool folder_names_read(int fd, struct folder_names *names) {
    _Alignas(struct dirent64) char entries[BLOCK_BYTES];
    ssize_t length;
    while ((length = getdents64(fd, entries, sizeof(entries))) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            add_name(names, entry);
            at += entry->d_reclen;
        }
    }
    if (length == 0 && (names->text.failed || names->offsets.failed)) {
        errno = ENOMEM;
        length = -1;
    }
    if (length < 0) {
        return false;
    }
    names->count = names->offsets.length / sizeof(size_t);
    if (names->count > 0) {
        qsort_r(names->offsets.data, names->count, sizeof(size_t), compare, names->text.data);
    }
    return true;
}

const char *folder_names_at(const struct folder_names *names, size_t index) {
    return names->text.data + offset_at(names->offsets.data + index * sizeof(size_t));
}

unsigned char folder_names_type_at(const struct folder_names *names, size_t index) {
    return (unsigned char)folder_names_at(names, index)[-1];
}

void folder_names_free(struct folder_names *names) {
    buffer_free(&names->text);
    buffer_free(&names->offsets);
    names->count = 0;
}
