/* escapes.h - the backslash escapes in the input of a command. Thread-safe. */
#ifndef TERMINALS_INSTANCE_ESCAPES_H
#define TERMINALS_INSTANCE_ESCAPES_H

#include <stddef.h>

/* Replaces, in place, \n \r \t \a \b \f \v \0 \\ \' \" \xHH and \uHHHH by what they stand for (models send "\\x03" for
 * ^C); whatever else follows a backslash stays as it is, so that C:\users means itself. Returns the new length. */
size_t escapes_decode(char *text, size_t length);

#endif
