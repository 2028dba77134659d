/* key_file.h - the encryption key in a file of its own: 0600, made of bytes from the kernel, changed whole or not at
 * all.
 */
#ifndef TERMINALS_PROVISIONER_KEY_FILE_H
#define TERMINALS_PROVISIONER_KEY_FILE_H

#include <stdbool.h>

#include "common/error.h"

/* Reads the first line into *text, for secret_free(). 1, 0 if there is no such file, -1 with *err, also if it is empty.
 * Warns if others than its owner can read it. */
int key_file_read(const char *path, char **text, struct error *err);

/* Generates a key of 256 bits into `path`, in place of what was there: durable when this returns. The key, for
 * secret_free(); NULL with *err. */
char *key_file_generate(const char *path, struct error *err);

/* `<path>.next`, which is to follow it; the caller frees it. */
char *key_file_next(const char *path, struct error *err);

/* Puts that file in its place, durably. */
bool key_file_replace(const char *path, struct error *err);

#endif
