/* ports.h - which TCP ports are listened on, from /proc/net/tcp (proc(5)). Thread-safe. */
#ifndef TERMINALS_INSTANCE_PORTS_H
#define TERMINALS_INSTANCE_PORTS_H

#include <stdbool.h>

/* Reads one line of /proc/net/tcp or tcp6. False if it is no socket that listens. */
bool ports_parse_line(const char *line, unsigned *port, unsigned long *inode);

#endif
