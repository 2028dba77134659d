/* text_encoding.c - text that is no UTF-8: what it is encoded in is found out and undone with iconv(3).
 *
 * A byte order mark says it all. Else NUL bytes at every other place mean UTF-16, and libuchardet guesses, if it is
 * installed (it is loaded here and nowhere else, with the C++ library it needs). The guess must decode all of the file;
 * Windows' own code for western Europe is the next, and ISO 8859-1, which decodes anything, the last. */
#include <dlfcn.h>
#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <string.h>
#include <uchardet/uchardet.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/text_reader.h"

#define LIBRARY        "libuchardet.so.0"
#define SAMPLE_BYTES   (256 * 1024)
#define CHUNK_BYTES    (64 * 1024)
#define NAME_SIZE      32
#define ZEROS_PER_CENT 30 /* of one half of the bytes, in UTF-16 of a text that has some ASCII */

/* ---- is it text? ---- */

struct counts {
    size_t even_zeros;
    size_t odd_zeros;
    size_t controls; /* that have no place in a text */
};

static struct counts count(const unsigned char *bytes, size_t length) {
    struct counts counts = {0};
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = bytes[i];
        counts.even_zeros += byte == 0 && i % 2 == 0;
        counts.odd_zeros += byte == 0 && i % 2 == 1;
        counts.controls += (byte > 0 && byte < 8) || (byte > 13 && byte < 27) || byte == 0x7F;
    }
    return counts;
}

static const struct {
    const char *mark;
    size_t length;
    const char *encoding;
} marks[] = {
    {"\xEF\xBB\xBF", 3, "UTF-8"}, {"\xFF\xFE\0\0", 4, "UTF-32LE"}, {"\0\0\xFE\xFF", 4, "UTF-32BE"},
    {"\xFF\xFE", 2, "UTF-16LE"},  {"\xFE\xFF", 2, "UTF-16BE"},     {"\x84\x31\x95\x33", 4, "GB18030"},
};

/* What uchardet makes of it; "" if it cannot tell, or is not there. */
static void guess(const char *sample, size_t length, char name[NAME_SIZE]) {
    name[0] = '\0';
    void *library = dlopen(LIBRARY, RTLD_NOW);
    if (library == NULL) {
        return;
    }
    __typeof__(uchardet_new) *make = (__typeof__(uchardet_new) *)dlsym(library, "uchardet_new");
    __typeof__(uchardet_handle_data) *handle =
        (__typeof__(uchardet_handle_data) *)dlsym(library, "uchardet_handle_data");
    __typeof__(uchardet_data_end) *end = (__typeof__(uchardet_data_end) *)dlsym(library, "uchardet_data_end");
    __typeof__(uchardet_get_charset) *get = (__typeof__(uchardet_get_charset) *)dlsym(library, "uchardet_get_charset");
    __typeof__(uchardet_delete) *destroy = (__typeof__(uchardet_delete) *)dlsym(library, "uchardet_delete");
    uchardet_t detector =
        make != NULL && handle != NULL && end != NULL && get != NULL && destroy != NULL ? make() : NULL;
    if (detector != NULL) {
        if (handle(detector, sample, length) == 0) {
            end(detector);
            strncpy(name, get(detector), NAME_SIZE - 1);
            name[NAME_SIZE - 1] = '\0';
        }
        destroy(detector);
    }
    dlclose(library);
}

/* ISO 8859-1 is what Windows-1252 is called by mistake (WHATWG Encoding, §4.2), and so it is with their like. */
static const char *true_name(const char *name) {
    static const struct {
        const char *guessed;
        const char *meant;
    } names[] = {
        {"ISO-8859-1", "WINDOWS-1252"},
        {"ISO-8859-9", "WINDOWS-1254"},
        {"SHIFT_JIS", "CP932"},
        {"GB2312", "GB18030"},
        {"ASCII", ""},
        {"UTF-8", ""},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i].guessed) == 0) {
            return names[i].meant;
        }
    }
    return name;
}

/* ---- decoding ---- */

struct decoder {
    iconv_t iconv;
    struct text_sink *sink; /* NULL: only whether it decodes is asked for */
};

/* Decodes what is in `chunk`; *kept is what of its end belongs to the next piece. False: it does not decode. */
static bool decode_chunk(const struct decoder *decoder, char *chunk, size_t length, bool is_end, size_t *kept) {
    char out[CHUNK_BYTES];
    char *in = chunk;
    *kept = length;
    while (*kept > 0) {
        char *at = out;
        size_t room = sizeof(out);
        size_t done = iconv(decoder->iconv, &in, kept, &at, &room);
        int problem = done == (size_t)-1 ? errno : 0;
        if (decoder->sink != NULL) {
            text_sink_add(decoder->sink, out, (size_t)(at - out));
        }
        if (problem == EINVAL) {
            break; /* a character that is cut */
        }
        if (problem != 0 && problem != E2BIG) {
            return false;
        }
    }
    memmove(chunk, in, *kept);
    return !is_end || *kept == 0;
}

/* Decodes the file from `offset` on. */
static bool decode(const char *encoding, off_t offset, struct text_sink *sink) {
    char chunk[CHUNK_BYTES];
    struct decoder decoder = {iconv_open("UTF-8", encoding), sink};
    size_t kept = 0;
    ssize_t got;
    if (decoder.iconv == (iconv_t)-1) {
        return false;
    }
    bool ok = true;
    do {
        got = pread(STDIN_FILENO, chunk + kept, sizeof(chunk) - kept, offset);
        offset += got;
        ok = got >= 0 && decode_chunk(&decoder, chunk, kept + (size_t)got, got == 0, &kept);
    } while (ok && got > 0 && kept < sizeof(chunk));
    iconv_close(decoder.iconv);
    return ok;
}

static bool read_as(const char *encoding, off_t offset, struct text_sink *sink) {
    return *encoding != '\0' && decode(encoding, offset, NULL) && decode(encoding, offset, sink);
}

enum text_result text_read_encoded(struct text_sink *sink) {
    cleanup_free char *sample = malloc(SAMPLE_BYTES);
    ssize_t got = sample == NULL ? -1 : pread(STDIN_FILENO, sample, SAMPLE_BYTES, 0);
    if (got <= 0) {
        return TEXT_DAMAGED;
    }
    size_t length = (size_t)got;
    bool is_marked = false;
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (length >= marks[i].length && memcmp(sample, marks[i].mark, marks[i].length) == 0) {
            is_marked = true;
            if (read_as(marks[i].encoding, (off_t)marks[i].length, sink)) {
                return TEXT_READ;
            }
        }
    }
    struct counts counts = count((const unsigned char *)sample, length);
    if (is_marked || counts.controls > length / 100) {
        return TEXT_BINARY;
    }
    if (counts.even_zeros + counts.odd_zeros > 0) {
        bool is_little = counts.odd_zeros * 200 / length > ZEROS_PER_CENT && counts.even_zeros == 0;
        bool is_big = counts.even_zeros * 200 / length > ZEROS_PER_CENT && counts.odd_zeros == 0;
        const char *encoding = is_little ? "UTF-16LE" : is_big ? "UTF-16BE" : "";
        return read_as(encoding, 0, sink) ? TEXT_READ : TEXT_BINARY;
    }
    char guessed[NAME_SIZE];
    guess(sample, length, guessed);
    bool is_read =
        read_as(true_name(guessed), 0, sink) || read_as("WINDOWS-1252", 0, sink) || read_as("ISO-8859-1", 0, sink);
    return is_read ? TEXT_READ : TEXT_BINARY;
}
