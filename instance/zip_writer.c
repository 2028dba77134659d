#include "instance/zip_writer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "instance/files_text.h"
#include "instance/utf8.h"

#define SMALL_FILE_BYTES (256 * 1024) /* up to here a file is compressed in memory */
#define CHUNK_BYTES      (64 * 1024)
#define ZIP64_FROM       0xFF000000U /* a size that compression could bring over 4 GiB - 1 */

/* APPNOTE §4.3: signatures, and §4.4.4: flags. */
enum { LOCAL = 0x04034b50, DESCRIPTOR = 0x08074b50, CENTRAL = 0x02014b50, END = 0x06054b50 };
enum { END64 = 0x06064b50, LOCATOR64 = 0x07064b50, EXTRA64 = 0x0001 };
enum { FLAG_DESCRIPTOR = 1 << 3, FLAG_UTF8 = 1 << 11 };
enum { VERSION_DEFLATE = 20, VERSION_ZIP64 = 45, SYSTEM_UNIX = 3, STORED = 0, DEFLATED = 8 };

struct zip_writer {
    bool (*write)(void *state, const void *bytes, size_t length, struct error *err);
    void *state;
    uint64_t offset;
    uint64_t entries;
    struct buffer central;
    z_stream deflater;
    unsigned char *input; /* CHUNK_BYTES */
    unsigned char *output;
};

struct entry {
    const char *name;
    uint64_t offset;
    uint64_t size;
    uint64_t packed_size;
    uint32_t crc;
    uint32_t attributes;
    uint16_t flags;
    uint16_t method;
    uint16_t date;
    uint16_t time;
    bool is_zip64;
};

/* ---- numbers, little end first ---- */

static void put(struct buffer *out, uint64_t number, int bytes) {
    unsigned char text[8];
    for (int i = 0; i < bytes; i++) {
        text[i] = (unsigned char)(number >> 8 * i);
    }
    buffer_append(out, text, (size_t)bytes);
}

static uint64_t at_most(uint64_t number, uint64_t limit) {
    return number < limit ? number : limit;
}

/* ---- writing ---- */

static bool emit(struct zip_writer *zip, const void *bytes, size_t length, struct error *err) {
    zip->offset += length;
    return length == 0 || zip->write(zip->state, bytes, length, err);
}

static bool send_buffer(struct zip_writer *zip, const struct buffer *buffer, struct error *err) {
    return buffer->failed ? error_set(err, ERROR_INTERNAL, "out of memory")
                          : emit(zip, buffer->data, buffer->length, err);
}

/* MS-DOS has no time before 1980 or after 2107, and only even seconds (APPNOTE §4.4.6). */
static void set_time(struct entry *entry, const struct stat *status) {
    struct tm tm;
    entry->date = 1 << 5 | 1;
    if (localtime_r(&status->st_mtim.tv_sec, &tm) == NULL || tm.tm_year < 80) {
        return;
    }
    if (tm.tm_year > 207) {
        tm = (struct tm){.tm_year = 207, .tm_mon = 11, .tm_mday = 31, .tm_hour = 23, .tm_min = 59, .tm_sec = 58};
    }
    entry->date = (uint16_t)((tm.tm_year - 80) << 9 | (tm.tm_mon + 1) << 5 | tm.tm_mday);
    entry->time = (uint16_t)(tm.tm_hour << 11 | tm.tm_min << 5 | tm.tm_sec / 2);
}

static struct entry begin_entry(const struct zip_writer *zip, const char *name, const struct stat *status) {
    struct entry entry = {.name = name, .offset = zip->offset, .attributes = (uint32_t)status->st_mode << 16};
    bool is_ascii = true;
    for (const char *c = name; *c != '\0'; c++) {
        is_ascii = is_ascii && (unsigned char)*c < 0x80;
    }
    entry.flags = !is_ascii && utf8_is_valid(name, strlen(name)) ? FLAG_UTF8 : 0;
    set_time(&entry, status);
    return entry;
}

/* What the local header and the central one have in common, from "version needed" to the lengths. */
static void put_common(struct buffer *out, const struct entry *entry, bool is_central, uint16_t extra_length) {
    bool hides_sizes = !is_central && (entry->flags & FLAG_DESCRIPTOR) != 0;
    bool needs_extra = is_central ? extra_length > 0 : entry->is_zip64;
    put(out, needs_extra || entry->is_zip64 ? VERSION_ZIP64 : VERSION_DEFLATE, 2);
    put(out, entry->flags, 2);
    put(out, entry->method, 2);
    put(out, entry->time, 2);
    put(out, entry->date, 2);
    put(out, hides_sizes ? 0 : entry->crc, 4);
    put(out, entry->is_zip64 ? UINT32_MAX : hides_sizes ? 0 : entry->packed_size, 4);
    put(out, entry->is_zip64 ? UINT32_MAX : hides_sizes ? 0 : entry->size, 4);
    put(out, strlen(entry->name), 2);
    put(out, extra_length, 2);
}

static bool send_local_header(struct zip_writer *zip, const struct entry *entry, struct error *err) {
    cleanup_buffer struct buffer header = {0};
    put(&header, LOCAL, 4);
    put_common(&header, entry, false, entry->is_zip64 ? 20 : 0);
    buffer_append_string(&header, entry->name);
    if (entry->is_zip64) { /* its sizes are in the descriptor, with 8 bytes each */
        put(&header, EXTRA64, 2);
        put(&header, 16, 2);
        put(&header, 0, 8);
        put(&header, 0, 8);
    }
    return send_buffer(zip, &header, err);
}

static bool send_descriptor(struct zip_writer *zip, const struct entry *entry, struct error *err) {
    cleanup_buffer struct buffer descriptor = {0};
    int width = entry->is_zip64 ? 8 : 4;
    put(&descriptor, DESCRIPTOR, 4);
    put(&descriptor, entry->crc, 4);
    put(&descriptor, entry->packed_size, width);
    put(&descriptor, entry->size, width);
    return send_buffer(zip, &descriptor, err);
}

static bool note_entry(struct zip_writer *zip, const struct entry *entry, struct error *err) {
    bool is_far = entry->offset >= UINT32_MAX;
    uint16_t values = (uint16_t)((entry->is_zip64 ? 16 : 0) + (is_far ? 8 : 0));
    put(&zip->central, CENTRAL, 4);
    put(&zip->central, (values > 0 ? VERSION_ZIP64 : VERSION_DEFLATE) | SYSTEM_UNIX << 8, 2);
    put_common(&zip->central, entry, true, values > 0 ? (uint16_t)(values + 4) : 0);
    put(&zip->central, 0, 2); /* comment length */
    put(&zip->central, 0, 2); /* disk */
    put(&zip->central, 0, 2); /* internal attributes */
    put(&zip->central, entry->attributes, 4);
    put(&zip->central, at_most(entry->offset, UINT32_MAX), 4);
    buffer_append_string(&zip->central, entry->name);
    if (values > 0) {
        put(&zip->central, EXTRA64, 2);
        put(&zip->central, values, 2);
    }
    if (entry->is_zip64) {
        put(&zip->central, entry->size, 8);
        put(&zip->central, entry->packed_size, 8);
    }
    if (is_far) {
        put(&zip->central, entry->offset, 8);
    }
    zip->entries++;
    return !zip->central.failed || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* ---- the content ---- */

/* As much as there is, up to `length`. -1: errno says. */
static ssize_t read_fully(int fd, unsigned char *out, size_t length) {
    size_t done = 0;
    while (done < length) {
        ssize_t got = read(fd, out + done, length - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return (ssize_t)done;
}

/* Compresses what is in `input`, and gives it to `out` or, if that is NULL, away. */
static bool deflate_piece(struct zip_writer *zip, struct entry *entry, const unsigned char *input, size_t length,
                          bool is_last, struct buffer *out, struct error *err) {
    entry->crc = (uint32_t)crc32(entry->crc, input, (uInt)length);
    entry->size += length;
    zip->deflater.next_in = (unsigned char *)input;
    zip->deflater.avail_in = (uInt)length;
    do {
        zip->deflater.next_out = zip->output;
        zip->deflater.avail_out = CHUNK_BYTES;
        deflate(&zip->deflater, is_last ? Z_FINISH : Z_NO_FLUSH);
        size_t made = CHUNK_BYTES - zip->deflater.avail_out;
        entry->packed_size += made;
        if (out == NULL && !emit(zip, zip->output, made, err)) {
            return false;
        }
        if (out != NULL && !buffer_append(out, zip->output, made)) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    } while (zip->deflater.avail_out == 0);
    return true;
}

static bool deflate_file(struct zip_writer *zip, struct entry *entry, int fd, uint64_t limit, const char *path,
                         struct buffer *out, struct error *err) {
    bool is_last = false;
    deflateReset(&zip->deflater);
    while (!is_last) {
        size_t wanted = (size_t)at_most(CHUNK_BYTES, limit - entry->size);
        ssize_t got = read_fully(fd, zip->input, wanted);
        if (got < 0) {
            return error_set_path(err, errno, path);
        }
        is_last = (size_t)got < CHUNK_BYTES;
        if (!deflate_piece(zip, entry, zip->input, (size_t)got, is_last, out, err)) {
            return false;
        }
    }
    return true;
}

static bool check_name(const char *name, struct error *err) {
    return strlen(name) <= UINT16_MAX || error_set(err, ERROR_INVALID, "A name is too long for an archive");
}

bool zip_writer_add_file(struct zip_writer *zip, const char *name, int fd, const struct stat *status, const char *path,
                         struct error *err) {
    struct entry entry = begin_entry(zip, name, status);
    uint64_t limit = (uint64_t)status->st_size;
    entry.method = DEFLATED;
    if (!check_name(name, err)) {
        return false;
    }
    if (limit <= SMALL_FILE_BYTES) {
        cleanup_buffer struct buffer packed = {0};
        return deflate_file(zip, &entry, fd, limit, path, &packed, err) && send_local_header(zip, &entry, err) &&
               send_buffer(zip, &packed, err) && note_entry(zip, &entry, err);
    }
    entry.flags |= FLAG_DESCRIPTOR;
    entry.is_zip64 = limit >= ZIP64_FROM;
    return send_local_header(zip, &entry, err) && deflate_file(zip, &entry, fd, limit, path, NULL, err) &&
           send_descriptor(zip, &entry, err) && note_entry(zip, &entry, err);
}

bool zip_writer_add_folder(struct zip_writer *zip, const char *name, const struct stat *status, struct error *err) {
    cleanup_buffer struct buffer with_slash = {0};
    buffer_append_string(&with_slash, name);
    if (!buffer_append(&with_slash, "/", 1)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct entry entry = begin_entry(zip, with_slash.data, status);
    entry.method = STORED;
    entry.attributes |= 0x10; /* MS-DOS: a folder */
    return check_name(with_slash.data, err) && send_local_header(zip, &entry, err) && note_entry(zip, &entry, err);
}

bool zip_writer_finish(struct zip_writer *zip, struct error *err) {
    uint64_t start = zip->offset;
    if (!send_buffer(zip, &zip->central, err)) {
        return false;
    }
    uint64_t end = zip->offset;
    cleanup_buffer struct buffer tail = {0};
    if (zip->entries >= UINT16_MAX || start >= UINT32_MAX || end - start >= UINT32_MAX) { /* APPNOTE §4.3.14, §4.3.15 */
        put(&tail, END64, 4);
        put(&tail, 44, 8); /* of what follows */
        put(&tail, VERSION_ZIP64 | SYSTEM_UNIX << 8, 2);
        put(&tail, VERSION_ZIP64, 2);
        put(&tail, 0, 8); /* disks */
        put(&tail, zip->entries, 8);
        put(&tail, zip->entries, 8);
        put(&tail, end - start, 8);
        put(&tail, start, 8);
        put(&tail, LOCATOR64, 4);
        put(&tail, 0, 4);
        put(&tail, end, 8);
        put(&tail, 1, 4);
    }
    put(&tail, END, 4);
    put(&tail, 0, 4); /* disks */
    put(&tail, at_most(zip->entries, UINT16_MAX), 2);
    put(&tail, at_most(zip->entries, UINT16_MAX), 2);
    put(&tail, at_most(end - start, UINT32_MAX), 4);
    put(&tail, at_most(start, UINT32_MAX), 4);
    put(&tail, 0, 2); /* comment length */
    return send_buffer(zip, &tail, err);
}

struct zip_writer *zip_writer_new(bool (*write)(void *state, const void *bytes, size_t length, struct error *err),
                                  void *state) {
    struct zip_writer *zip = calloc(1, sizeof(*zip));
    if (zip == NULL) {
        return NULL;
    }
    zip->write = write;
    zip->state = state;
    zip->input = malloc(CHUNK_BYTES);
    zip->output = malloc(CHUNK_BYTES);
    if (zip->input == NULL || zip->output == NULL ||
        deflateInit2(&zip->deflater, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        zip_writer_free(zip);
        return NULL;
    }
    return zip;
}

void zip_writer_free(struct zip_writer *zip) {
    if (zip != NULL) {
        deflateEnd(&zip->deflater);
        buffer_free(&zip->central);
        free(zip->input);
        free(zip->output);
        free(zip);
    }
}
