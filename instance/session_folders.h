/* session_folders.h - the working folder of each client session (the header X-Session-Id), set by POST /files/cwd.
 *
 * Bounded: when SESSION_FOLDERS_MAX sessions are known, the one unused longest is forgotten and is back at home. */
#ifndef TERMINALS_INSTANCE_SESSION_FOLDERS_H
#define TERMINALS_INSTANCE_SESSION_FOLDERS_H

#include <stdbool.h>

#define SESSION_FOLDERS_MAX 256

struct session_folders;

/* NULL: no memory. `home` is copied. A session that nobody asked for in `ttl_seconds` is forgotten. */
struct session_folders *session_folders_new(const char *home, double ttl_seconds);
void session_folders_free(struct session_folders *folders);

/* The absolute folder of a session, borrowed until the next set; home for a NULL or unknown session. */
const char *session_folder_get(struct session_folders *folders, const char *session_id);

/* Remembers `folder` (absolute, copied). Without a session id nothing is remembered and that is fine. False: no memory.
 */
bool session_folder_set(struct session_folders *folders, const char *session_id, const char *folder);

#endif
