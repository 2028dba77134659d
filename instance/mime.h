/* mime.h - the media type of a file, by its name and, where that says nothing, by the first bytes of an image.
 * Thread-safe. */
#ifndef TERMINALS_INSTANCE_MIME_H
#define TERMINALS_INSTANCE_MIME_H

#include <stdbool.h>
#include <stddef.h>

#define MIME_UNKNOWN     "application/octet-stream"
#define MIME_SNIFF_BYTES 16 /* how many of the first bytes mime_of_file() looks at */

/* By the name's last extension, in any case; MIME_UNKNOWN if it has none that is known. */
const char *mime_of_name(const char *name);

/* The same, and an unknown name is an image if its first bytes say so. */
const char *mime_of_file(const char *name, const void *start, size_t length);

/* True if the type begins with one of the prefixes, which are separated by commas: "image, audio/mpeg". */
bool mime_is_listed(const char *type, const char *prefixes);

/* True for text/…, which is served with `; charset=utf-8`. */
bool mime_is_text(const char *type);

#endif
