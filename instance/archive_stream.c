#include "instance/archive_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/file_walk.h"
#include "instance/files_path.h"
#include "instance/files_text.h"
#include "instance/folder_names.h"
#include "instance/zip_writer.h"

#define STACK_BYTES (256UL * 1024)

struct archive_stream {
    char **paths;
    size_t count;
    int out; /* the thread's end of the pipe */
    atomic_int users;
    atomic_bool is_whole; /* orders what the thread wrote before what its reader reads */
    struct error err;
};

void archive_stream_free(struct archive_stream *stream) {
    if (stream == NULL || atomic_fetch_sub(&stream->users, 1) > 1) {
        return;
    }
    for (size_t i = 0; i < stream->count; i++) {
        free(stream->paths[i]);
    }
    free(stream->paths);
    free(stream);
}

bool archive_stream_is_whole(const struct archive_stream *stream, struct error *err) {
    if (atomic_load(&stream->is_whole)) {
        return true;
    }
    *err = stream->err;
    return false;
}

static bool write_all(void *state, const void *bytes, size_t length, struct error *err) {
    const struct archive_stream *stream = state;
    const char *at = bytes;
    while (length > 0) {
        ssize_t written = write(stream->out, at, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return error_set_errno(err, ERROR_INTERNAL, "send the archive");
        }
        at += written;
        length -= (size_t)written;
    }
    return true;
}

/* ---- what goes in ---- */

struct gathering {
    struct zip_writer *zip;
    const char *prefix; /* the name of the folder in the archive */
    struct error *err;
    bool ok;
};

static bool add_file(struct zip_writer *zip, const char *name, const char *path, struct error *err) {
    struct stat status;
    cleanup_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return error_set_path(err, errno, path);
    }
    return !S_ISREG(status.st_mode) || zip_writer_add_file(zip, name, fd, &status, path, err);
}

/* An empty folder is the only one that appears by itself; one that cannot be looked into spoils the archive, as a file
 * that cannot be read does: an archive that silently lacks something is worse than none. */
static bool add_folder(struct zip_writer *zip, const char *name, const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    cleanup_folder_names struct folder_names names = {0};
    if (fd < 0 || fstat(fd, &status) != 0 || !folder_names_read(fd, &names)) {
        return error_set_path(err, errno, path);
    }
    return names.count > 0 || zip_writer_add_folder(zip, name, &status, err);
}

static enum file_walk_step add_entry(void *state, const struct file_walk_entry *entry) {
    struct gathering *gathering = state;
    if (entry->type == FILE_WALK_OTHER || (entry->is_link && entry->type == FILE_WALK_FOLDER)) {
        return FILE_WALK_ON;
    }
    cleanup_free char *name = path_join(gathering->prefix, entry->relative);
    if (name == NULL) {
        gathering->ok = error_set(gathering->err, ERROR_INTERNAL, "out of memory");
    } else if (entry->type == FILE_WALK_FILE) {
        gathering->ok = add_file(gathering->zip, name, entry->path, gathering->err);
    } else {
        gathering->ok = add_folder(gathering->zip, name, entry->path, gathering->err);
    }
    return gathering->ok ? FILE_WALK_ON : FILE_WALK_STOP;
}

static bool add_path(struct zip_writer *zip, const char *path, struct error *err) {
    struct stat status;
    const char *name = *path_name(path) != '\0' ? path_name(path) : "root";
    if (stat(path, &status) != 0) {
        return error_set_path(err, errno, path);
    }
    if (!S_ISDIR(status.st_mode)) {
        return add_file(zip, name, path, err);
    }
    struct gathering gathering = {.zip = zip, .prefix = name, .err = err, .ok = true};
    return add_folder(zip, name, path, err) &&
           (file_walk(path, add_entry, &gathering) || error_set(err, ERROR_INTERNAL, "out of memory")) && gathering.ok;
}

/* ---- the thread ---- */

static void *run(void *argument) {
    struct archive_stream *stream = argument;
    struct zip_writer *zip = zip_writer_new(write_all, stream);
    bool ok = zip != NULL || error_set(&stream->err, ERROR_INTERNAL, "out of memory");
    for (size_t i = 0; ok && i < stream->count; i++) {
        ok = add_path(zip, stream->paths[i], &stream->err);
    }
    ok = ok && zip_writer_finish(zip, &stream->err);
    zip_writer_free(zip);
    atomic_store(&stream->is_whole, ok);
    close(stream->out);
    archive_stream_free(stream);
    return NULL;
}

static bool start_thread(struct archive_stream *stream) {
    pthread_attr_t attributes;
    pthread_t id;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    bool ok = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
              pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_create(&id, &attributes, run, stream) == 0;
    pthread_attr_destroy(&attributes);
    return ok;
}

struct archive_stream *archive_stream_start(char **paths, size_t count, int *fd, struct error *err) {
    int ends[2] = {-1, -1};
    struct archive_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        for (size_t i = 0; i < count; i++) {
            free(paths[i]);
        }
        free(paths);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    *stream = (struct archive_stream){.paths = paths, .count = count, .users = 2};
    if (pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0) {
        stream->out = ends[1];
        if (start_thread(stream)) {
            *fd = ends[0];
            return stream;
        }
    }
    error_set_errno(err, ERROR_INTERNAL, "start an archive");
    if (ends[0] >= 0) {
        close(ends[0]);
        close(ends[1]);
    }
    atomic_store(&stream->users, 1);
    archive_stream_free(stream);
    return NULL;
}
