/* write_whole.h - write(2) until all is written. */
#ifndef TERMINALS_COMMON_WRITE_WHOLE_H
#define TERMINALS_COMMON_WRITE_WHOLE_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all of it, going on after a signal and after a part. For a blocking `fd`. False with errno: some of it may be
 * written. Thread-safe. */
bool write_whole(int fd, const char *bytes, size_t length);

#endif
