/* cleanup.h - scope-bound release of what C does not release by itself (gcc and clang `cleanup` attribute).
 *
 *   cleanup_free char *text = strdup("x");   // freed when the scope ends, however it ends
 *   cleanup_close int fd = open(...);        // closed if >= 0
 *
 * To hand a value out of the scope, use steal_pointer() or steal_fd(). */
#ifndef TERMINALS_COMMON_CLEANUP_H
#define TERMINALS_COMMON_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free_function(void *pointer_to_pointer) {
    free(*(void **)pointer_to_pointer);
}

static inline void cleanup_close_function(const int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
}

static inline void cleanup_fclose_function(FILE **file) {
    if (*file != NULL) {
        fclose(*file);
    }
}

static inline void *steal_pointer_function(void *pointer_to_pointer) {
    void *value = *(void **)pointer_to_pointer;
    *(void **)pointer_to_pointer = NULL;
    return value;
}

static inline int steal_fd(int *fd) {
    int value = *fd;
    *fd = -1;
    return value;
}

#define cleanup_free           __attribute__((cleanup(cleanup_free_function)))
#define cleanup_close          __attribute__((cleanup(cleanup_close_function)))
#define cleanup_fclose         __attribute__((cleanup(cleanup_fclose_function)))
#define steal_pointer(pointer) ((__typeof__(*(pointer)))steal_pointer_function(pointer))

#endif
