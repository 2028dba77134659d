#include "instance/line_search.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/utf8.h"

#define BUFFER_BYTES   (256UL * 1024)       /* fits the second cache of a processor */
#define LINE_MAX_BYTES (64UL * 1024 * 1024) /* a longer line is searched in parts */
#define CHECK_BYTES    (64UL * 1024)

/* One file on its way through the buffer. */
struct passage {
    struct line_search *search;
    int fd;
    size_t length;      /* of what is in the buffer; it starts where a line starts */
    int64_t line;       /* the number of that line */
    bool is_first_part; /* the buffer has the start of the file, */
    bool is_last_part;  /* and its end */
    bool is_known_text; /* all of the file was looked at */
};

bool line_search_prepare(struct line_search *search) {
    search->capacity = BUFFER_BYTES;
    search->buffer = malloc(BUFFER_BYTES);
    return search->buffer != NULL;
}

void line_search_free(struct line_search *search) {
    free(search->buffer);
    search->buffer = NULL;
}

/* Eight bytes at a time: in `zero_where_equal` the bytes that are 0 are counted (Hacker's Delight, 6-1). */
static int64_t count_line_feeds(const char *text, size_t length) {
    const uint64_t low_bits = 0x7F7F7F7F7F7F7F7FU;
    int64_t count = 0;
    size_t at = 0;
    for (; length - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t zero_where_equal;
        memcpy(&zero_where_equal, text + at, sizeof(zero_where_equal));
        zero_where_equal ^= 0x0A0A0A0A0A0A0A0AU;
        uint64_t high_where_not = ((zero_where_equal & low_bits) + low_bits) | zero_where_equal | low_bits;
        count += __builtin_popcountll(~high_where_not);
    }
    for (; at < length; at++) {
        count += text[at] == '\n';
    }
    return count;
}

/* As read(2), from the file's own position. */
static ssize_t read_some(int fd, char *out, size_t size) {
    ssize_t got;
    do {
        got = read(fd, out, size);
    } while (got < 0 && errno == EINTR);
    return got;
}

/* Reads all of the file once more, from its start. */
static bool is_file_text(const struct passage *passage) {
    char *chunk = malloc(CHECK_BYTES);
    size_t kept = 0;
    off_t offset = 0;
    bool is_text = chunk != NULL;
    ssize_t got = 1;
    passage->search->failed = passage->search->failed || chunk == NULL;
    while (is_text && got > 0 && !atomic_load(passage->search->is_stopped)) {
        got = pread(passage->fd, chunk + kept, CHECK_BYTES - kept, offset);
        if (got < 0) {
            is_text = errno == EINTR;
            got = 1;
            continue;
        }
        offset += got;
        size_t length = kept + (size_t)got;
        bool is_cut;
        size_t valid = utf8_valid_prefix(chunk, length, &is_cut);
        is_text = memchr(chunk, '\0', length) == NULL && (valid == length || (is_cut && got > 0));
        kept = length - valid;
        memmove(chunk, chunk + valid, is_text ? kept : 0);
    }
    free(chunk);
    return is_text;
}

/* Looks at as much of the file as must be known before anything may be told of it. */
static bool is_text(struct passage *passage) {
    if (!passage->is_known_text) {
        const struct line_search *search = passage->search;
        passage->is_known_text = passage->is_first_part && passage->is_last_part
                                     ? utf8_is_valid(search->buffer, passage->length)
                                     : is_file_text(passage);
    }
    return passage->is_known_text;
}

/* Searches the first `length` bytes in the buffer, whole lines. False: that is all of this file. */
static bool search_lines(struct passage *passage, size_t length) {
    struct line_search *search = passage->search;
    const char *at = search->buffer;
    const char *end = at + length;
    const char *match;
    while (at < end && (match = regex_find_line(search->regex, at, (size_t)(end - at))) != NULL) {
        if (regex_failed(search->regex)) {
            search->failed = true;
            return false;
        }
        if (!is_text(passage)) {
            return false;
        }
        const char *before = memrchr(at, '\n', (size_t)(match - at));
        const char *line = before != NULL ? before + 1 : at;
        const char *line_feed = memchr(match, '\n', (size_t)(end - match));
        const char *line_end = line_feed != NULL ? line_feed : end;
        size_t line_length = (size_t)(line_end - line);
        line_length -= line_length > 0 && line[line_length - 1] == '\r';
        passage->line += count_line_feeds(at, (size_t)(line - at));
        if (!search->found(search->state, passage->line, line, line_length)) {
            return false;
        }
        passage->line++;
        at = line_feed != NULL ? line_feed + 1 : end;
    }
    if (!passage->is_last_part) {
        passage->line += count_line_feeds(at, (size_t)(end - at));
    }
    return true;
}

/* Where the last whole line in the buffer ends; all of it if there is no more to come. 0: there is none yet. */
static size_t whole_lines(const struct passage *passage) {
    const char *buffer = passage->search->buffer;
    const char *last = passage->is_last_part ? NULL : memrchr(buffer, '\n', passage->length);
    if (last != NULL) {
        return (size_t)(last - buffer) + 1;
    }
    return passage->is_last_part || passage->length >= LINE_MAX_BYTES ? passage->length : 0;
}

static bool grow(struct line_search *search) {
    size_t capacity = search->capacity > 0 ? search->capacity * 2 : BUFFER_BYTES;
    char *larger = realloc(search->buffer, capacity);
    if (larger == NULL) {
        search->failed = true;
        return false;
    }
    search->buffer = larger;
    search->capacity = capacity;
    return true;
}

/* Fills the buffer behind what is in it. False: the file cannot be read, or shows that it is no text. */
static bool fill(struct passage *passage) {
    struct line_search *search = passage->search;
    if (passage->length == search->capacity && !grow(search)) {
        return false;
    }
    size_t before = passage->length;
    while (passage->length < search->capacity) {
        ssize_t got = read_some(passage->fd, search->buffer + passage->length, search->capacity - passage->length);
        if (got < 0) {
            return false;
        }
        if (got == 0) {
            passage->is_last_part = true;
            break;
        }
        passage->length += (size_t)got;
    }
    return memchr(search->buffer + before, '\0', passage->length - before) == NULL;
}

void line_search_file(struct line_search *search, int fd) {
    struct passage passage = {.search = search, .fd = fd, .line = 1, .is_first_part = true};
    while (!passage.is_last_part && !atomic_load(search->is_stopped) && fill(&passage)) {
        size_t length = whole_lines(&passage);
        if (length > 0 && !search_lines(&passage, length)) {
            return;
        }
        passage.is_first_part = passage.is_first_part && length == 0;
        passage.length -= length;
        memmove(search->buffer, search->buffer + length, passage.length);
    }
}
