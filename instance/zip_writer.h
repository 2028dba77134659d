/* zip_writer.h - writes a ZIP archive (PKWARE APPNOTE 6.3) front to back, into a pipe or a socket: nothing is ever gone
 * back to, and memory does not grow with the size of the files, only by a few bytes with their number.
 *
 * Small files are compressed in memory first, and so have their sizes in front of them, as unzip tools like best; big
 * ones have them behind (a data descriptor). ZIP64 is used where a size, the offset or the number of entries needs it.
 * Names are bytes; those that are UTF-8 and not ASCII are marked as such. One thread at a time. */
#ifndef TERMINALS_INSTANCE_ZIP_WRITER_H
#define TERMINALS_INSTANCE_ZIP_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "common/error.h"

struct zip_writer;

/* `write` gets all bytes of the archive in order; false means that it cannot go on, and has filled *err. NULL: no
 * memory. */
struct zip_writer *zip_writer_new(bool (*write)(void *state, const void *bytes, size_t length, struct error *err),
                                  void *state);

/* Adds what can be read from `fd`, status->st_size bytes at most, under a relative name. `path` is for errors. False:
 * *err; the archive is then broken. */
bool zip_writer_add_file(struct zip_writer *zip, const char *name, int fd, const struct stat *status, const char *path,
                         struct error *err);

/* Adds an empty folder; the name is without a slash at its end. */
bool zip_writer_add_folder(struct zip_writer *zip, const char *name, const struct stat *status, struct error *err);

/* Writes the directory that ends the archive. */
bool zip_writer_finish(struct zip_writer *zip, struct error *err);

/* NULL is fine. */
void zip_writer_free(struct zip_writer *zip);

#endif
