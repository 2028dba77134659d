/* archive_stream.h - a ZIP archive of files and folders, made on a thread of its own while it is read from a pipe.
 *
 * The thread waits while nobody reads, and ends when nobody ever will: close the descriptor to stop it. */
#ifndef TERMINALS_INSTANCE_ARCHIVE_STREAM_H
#define TERMINALS_INSTANCE_ARCHIVE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct archive_stream;

/* Starts on `paths` (absolute; the array and its strings are taken over, whatever comes of it). A file appears under
 * its name, a folder under its name with all below it: links to files as what they lead to, links to folders and
 * special files not at all. *fd is the end to read from, the caller's, and does not block. NULL: *err. */
struct archive_stream *archive_stream_start(char **paths, size_t count, int *fd, struct error *err);

/* To be asked when the pipe has ended: was all of it written? False: *err says why not. */
bool archive_stream_is_whole(const struct archive_stream *stream, struct error *err);

/* Forgets it; the thread may go on for the moment it takes to notice. NULL is fine. */
void archive_stream_free(struct archive_stream *stream);

#endif
