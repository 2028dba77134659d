#include "instance/session_folders.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

/* A few hundred at most, so a plain array is enough. */
struct session {
    char *id;
    char *folder;
    uint64_t used;      /* on the clock of the folders, which counts uses */
    int64_t used_at_ms; /* clock_monotonic_ms() */
};

struct session_folders {
    char *home;
    uint64_t clock;
    int64_t ttl_ms;
    size_t count;
    struct session *sessions; /* grows up to SESSION_FOLDERS_MAX */
};

struct session_folders *session_folders_new(const char *home, double ttl_seconds) {
    struct session_folders *folders = calloc(1, sizeof *folders);
    if (folders == NULL || (folders->home = strdup(home)) == NULL) {
        free(folders);
        return NULL;
    }
    folders->ttl_ms = (int64_t)(ttl_seconds * 1000);
    return folders;
}

static void forget(struct session *session) {
    free(session->id);
    free(session->folder);
}

void session_folders_free(struct session_folders *folders) {
    if (folders == NULL) {
        return;
    }
    for (size_t i = 0; i < folders->count; i++) {
        forget(&folders->sessions[i]);
    }
    free(folders->sessions);
    free(folders->home);
    free(folders);
}

static struct session *find(struct session_folders *folders, const char *session_id) {
    for (size_t i = 0; session_id != NULL && i < folders->count; i++) {
        struct session *session = &folders->sessions[i];
        if (strcmp(session->id, session_id) == 0) {
            int64_t now_ms = clock_monotonic_ms();
            if (now_ms - session->used_at_ms > folders->ttl_ms) {
                forget(session);
                *session = folders->sessions[--folders->count];
                return NULL;
            }
            session->used = ++folders->clock;
            session->used_at_ms = now_ms;
            return session;
        }
    }
    return NULL;
}

const char *session_folder_get(struct session_folders *folders, const char *session_id) {
    struct session *session = find(folders, session_id);
    return session != NULL ? session->folder : folders->home;
}

/* A place for one more session: a new one, or that of the session unused longest. NULL: no memory. */
static struct session *make_room(struct session_folders *folders) {
    if (folders->count < SESSION_FOLDERS_MAX) {
        struct session *grown = realloc(folders->sessions, (folders->count + 1) * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        folders->sessions = grown;
        return &grown[folders->count++];
    }
    struct session *oldest = &folders->sessions[0];
    for (size_t i = 1; i < folders->count; i++) {
        if (folders->sessions[i].used < oldest->used) {
            oldest = &folders->sessions[i];
        }
    }
    forget(oldest);
    return oldest;
}

bool session_folder_set(struct session_folders *folders, const char *session_id, const char *folder) {
    if (session_id == NULL || *session_id == '\0') {
        return true;
    }
    struct session *session = find(folders, session_id);
    char *new_folder = strdup(folder);
    if (new_folder == NULL) {
        return false;
    }
    if (session != NULL) {
        free(session->folder);
        session->folder = new_folder;
        return true;
    }
    char *id = strdup(session_id);
    session = id != NULL ? make_room(folders) : NULL;
    if (session == NULL) {
        free(id);
        free(new_folder);
        return false;
    }
    *session =
        (struct session){.id = id, .folder = new_folder, .used = ++folders->clock, .used_at_ms = clock_monotonic_ms()};
    return true;
}
