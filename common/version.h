/* version.h - which Terminals this is. */
#ifndef TERMINALS_COMMON_VERSION_H
#define TERMINALS_COMMON_VERSION_H

#define TERMINALS_VERSION "0.1.0"

#endif
