#include "instance/mime.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OFFICE "application/vnd.openxmlformats-officedocument."
#define OASIS  "application/vnd.oasis.opendocument."

struct extension {
    const char *name;
    const char *type;
};

/* Sorted by name: bsearch(3). */
static const struct extension extensions[] = {
    {"3gp", "audio/3gpp"},
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"aif", "audio/x-aiff"},
    {"aiff", "audio/x-aiff"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bat", "text/plain"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"doc", "application/msword"},
    {"docx", OFFICE "wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"eps", "application/postscript"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"gif", "image/gif"},
    {"gz", "application/gzip"},
    {"h", "text/plain"},
    {"heic", "image/heic"},
    {"heif", "image/heif"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar"},
    {"jpe", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"ksh", "text/plain"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"markdown", "text/markdown"},
    {"md", "text/markdown"},
    {"mid", "audio/midi"},
    {"midi", "audio/midi"},
    {"mjs", "text/javascript"},
    {"mka", "audio/x-matroska"},
    {"mkv", "video/x-matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odg", OASIS "graphics"},
    {"odp", OASIS "presentation"},
    {"ods", OASIS "spreadsheet"},
    {"odt", OASIS "text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/opus"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", OFFICE "presentationml.presentation"},
    {"ps", "application/postscript"},
    {"py", "text/x-python"},
    {"rar", "application/vnd.rar"},
    {"rtf", "application/rtf"},
    {"sh", "application/x-sh"},
    {"so", "application/octet-stream"},
    {"sqlite", "application/vnd.sqlite3"},
    {"sqlite3", "application/vnd.sqlite3"},
    {"srt", "text/plain"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tex", "application/x-tex"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"tsv", "text/tab-separated-values"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain"},
    {"vtt", "text/vtt"},
    {"wasm", "application/wasm"},
    {"wav", "audio/x-wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", OFFICE "spreadsheetml.sheet"},
    {"xml", "text/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

/* What the first bytes of an image are; a NUL-terminated mark may be followed by a second one further on. */
static const struct {
    const char *mark;
    size_t length;
    const char *second; /* NULL: none */
    size_t second_at;
    const char *type;
} images[] = {
    {"\x89PNG\r\n\x1a\n", 8, NULL, 0, "image/png"},
    {"\xff\xd8\xff", 3, NULL, 0, "image/jpeg"},
    {"GIF87a", 6, NULL, 0, "image/gif"},
    {"GIF89a", 6, NULL, 0, "image/gif"},
    {"RIFF", 4, "WEBP", 8, "image/webp"},
    {"II*\0", 4, NULL, 0, "image/tiff"},
    {"MM\0*", 4, NULL, 0, "image/tiff"},
};

static int compare_extension(const void *name, const void *row) {
    return strcasecmp(name, ((const struct extension *)row)->name);
}

const char *mime_of_name(const char *name) {
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || dot[-1] == '/') { /* ".png" is a hidden file, not an image */
        return MIME_UNKNOWN;
    }
    const struct extension *found = bsearch(dot + 1, extensions, sizeof(extensions) / sizeof(extensions[0]),
                                            sizeof(extensions[0]), compare_extension);
    return found != NULL ? found->type : MIME_UNKNOWN;
}

const char *mime_of_file(const char *name, const void *start, size_t length) {
    const char *type = mime_of_name(name);
    if (strcmp(type, MIME_UNKNOWN) != 0) {
        return type;
    }
    const char *bytes = start;
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        if (length < images[i].length || memcmp(bytes, images[i].mark, images[i].length) != 0) {
            continue;
        }
        size_t second_length = images[i].second != NULL ? strlen(images[i].second) : 0;
        if (second_length == 0 || (length >= images[i].second_at + second_length &&
                                   memcmp(bytes + images[i].second_at, images[i].second, second_length) == 0)) {
            return images[i].type;
        }
    }
    return type;
}

bool mime_is_listed(const char *type, const char *prefixes) {
    while (*prefixes != '\0') {
        prefixes += strspn(prefixes, ", ");
        size_t length = strcspn(prefixes, ", ");
        if (length > 0 && strncasecmp(type, prefixes, length) == 0) {
            return true;
        }
        prefixes += length;
    }
    return false;
}

bool mime_is_text(const char *type) {
    return strncmp(type, "text/", 5) == 0;
}
