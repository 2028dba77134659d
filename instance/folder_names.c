#include "instance/folder_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t offset_at(const char *place) {
    size_t offset;
    memcpy(&offset, place, sizeof(offset));
    return offset;
}

/* By bytes, which for UTF-8 is the order of code points. */
static int compare(const void *a, const void *b, void *text) {
    return strcmp((const char *)text + offset_at(a), (const char *)text + offset_at(b));
}

bool folder_names_read(int fd, struct folder_names *names) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    if (folder == NULL) {
        if (copy >= 0) {
            close(copy);
        }
        return false;
    }
    struct dirent *entry;
    while ((errno = 0, entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'))) {
            continue;
        }
        size_t offset = names->text.length + 1;
        buffer_append(&names->offsets, &offset, sizeof(offset));
        buffer_append(&names->text, &entry->d_type, 1);
        buffer_append(&names->text, name, strlen(name) + 1);
    }
    int problem = errno;
    closedir(folder);
    errno = names->text.failed || names->offsets.failed ? ENOMEM : problem;
    if (errno != 0) {
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
