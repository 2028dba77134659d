#include "instance/text_package.h"

#include <expat.h>
#include <minizip/unzip.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "instance/url.h"

#define DOCUMENT           "/proc/self/fd/0"
#define CHUNK_BYTES        (64 * 1024)
#define UNPACKED_MAX_BYTES (1UL << 30)

struct package {
    unzFile zip;
    uint64_t left; /* that may still be unpacked */
};

struct parse {
    XML_Parser parser;
    const struct xml_events *events;
    void *state;
};

struct package *package_open(void) {
    struct package *package = calloc(1, sizeof(*package));
    if (package == NULL) {
        return NULL;
    }
    package->left = UNPACKED_MAX_BYTES;
    package->zip = unzOpen64(DOCUMENT);
    if (package->zip == NULL) {
        free(package);
        return NULL;
    }
    return package;
}

void package_close(struct package *package) {
    if (package != NULL) {
        unzClose(package->zip);
        free(package);
    }
}

const char *xml_attribute(const char **attributes, const char *name) {
    for (; *attributes != NULL; attributes += 2) {
        if (strcmp(attributes[0], name) == 0) {
            return attributes[1];
        }
    }
    return NULL;
}

static const char *local_name(const char *name) {
    const char *colon = strchr(name, ':');
    return colon != NULL ? colon + 1 : name;
}

/* ---- what expat calls ---- */

static void on_start(void *user, const char *name, const char **attributes) {
    const struct parse *parse = user;
    for (size_t i = 0; attributes[i] != NULL; i += 2) {
        attributes[i] = local_name(attributes[i]);
    }
    if (parse->events->start != NULL) {
        parse->events->start(parse->state, local_name(name), attributes);
    }
}

static void on_end(void *user, const char *name) {
    const struct parse *parse = user;
    if (parse->events->end != NULL) {
        parse->events->end(parse->state, local_name(name));
    }
}

static void on_text(void *user, const char *text, int length) {
    const struct parse *parse = user;
    if (parse->events->text != NULL) {
        parse->events->text(parse->state, text, (size_t)length);
    }
}

static void on_entity_declared(void *user, const char *name, int is_parameter, const char *value, int length,
                               const char *base, const char *system_id, const char *public_id, const char *notation) {
    (void)name, (void)is_parameter, (void)value, (void)length, (void)base, (void)system_id, (void)public_id;
    (void)notation;
    XML_StopParser(((const struct parse *)user)->parser, XML_FALSE);
}

/* HTML's entities, which XHTML uses without declaring them; an unknown one is shown as it is written. */
static void on_entity_skipped(void *user, const char *name, int is_parameter) {
    static const char *const entities[][2] = {
        {"nbsp", "\u00A0"},  {"mdash", "\u2014"}, {"ndash", "\u2013"}, {"hellip", "\u2026"}, {"lsquo", "\u2018"},
        {"rsquo", "\u2019"}, {"ldquo", "\u201C"}, {"rdquo", "\u201D"}, {"copy", "\u00A9"},   {"shy", ""},
    };
    const char *text = NULL;
    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]) && text == NULL; i++) {
        text = strcmp(entities[i][0], name) == 0 ? entities[i][1] : NULL;
    }
    if (is_parameter) {
        return;
    }
    if (text != NULL) {
        on_text(user, text, (int)strlen(text));
        return;
    }
    on_text(user, "&", 1);
    on_text(user, name, (int)strlen(name));
    on_text(user, ";", 1);
}

/* ---- one member ---- */

static bool feed(struct package *package, XML_Parser parser) {
    int got;
    do {
        void *room = XML_GetBuffer(parser, CHUNK_BYTES);
        got = room == NULL ? -1 : unzReadCurrentFile(package->zip, room, CHUNK_BYTES);
        if (got < 0 || (uint64_t)got > package->left) {
            return false;
        }
        package->left -= (uint64_t)got;
        if (XML_ParseBuffer(parser, got, got == 0) != XML_STATUS_OK) {
            return false;
        }
    } while (got > 0);
    return true;
}

bool package_parse(struct package *package, const char *member, const struct xml_events *events, void *state) {
    if (unzLocateFile(package->zip, member, 1) != UNZ_OK || unzOpenCurrentFile(package->zip) != UNZ_OK) {
        return false;
    }
    struct parse parse = {XML_ParserCreate(NULL), events, state};
    bool ok = parse.parser != NULL;
    if (ok) {
        XML_SetUserData(parse.parser, &parse);
        XML_SetElementHandler(parse.parser, on_start, on_end);
        XML_SetCharacterDataHandler(parse.parser, on_text);
        XML_SetEntityDeclHandler(parse.parser, on_entity_declared);
        XML_SetSkippedEntityHandler(parse.parser, on_entity_skipped);
        XML_UseForeignDTD(parse.parser, XML_TRUE); /* then an unknown entity is skipped, not an error */
        ok = feed(package, parse.parser);
        XML_ParserFree(parse.parser);
    }
    unzCloseCurrentFile(package->zip);
    return ok;
}

/* ---- references ---- */

/* Appends the segments of `path`, of which ".." takes back one. */
static void append_segments(struct buffer *out, const char *path, size_t length) {
    const char *end = path + length;
    while (path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        size_t size = (size_t)((slash != NULL ? slash : end) - path);
        if (size == 2 && memcmp(path, "..", 2) == 0) {
            const char *last = out->length > 0 ? memrchr(out->data, '/', out->length) : NULL;
            out->length = last != NULL ? (size_t)(last - out->data) : 0;
        } else if (size > 0 && !(size == 1 && *path == '.')) {
            buffer_append(out, "/", out->length > 0);
            buffer_append(out, path, size);
        }
        path += size + 1;
    }
}

char *package_resolve(const char *base, const char *target) {
    struct buffer path = {0};
    size_t length = strcspn(target, "#");
    char *decoded = strndup(target, length);
    if (decoded == NULL) {
        return NULL;
    }
    length = url_decode(decoded, length, false, decoded);
    const char *slash = strrchr(base, '/');
    if (*target != '/' && slash != NULL) {
        append_segments(&path, base, (size_t)(slash - base));
    }
    append_segments(&path, decoded, length);
    buffer_append(&path, "", 0);
    free(decoded);
    char *result = buffer_take(&path);
    buffer_free(&path);
    return result;
}
