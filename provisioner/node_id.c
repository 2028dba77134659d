#include "provisioner/node_id.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/digest.h"
#include "common/secret.h"
#include "provisioner/key_file.h"
#include "provisioner/run_folder.h"

/* 1: there is one, and it is ours. 0: there is none. -1 with *err. */
static int lock_folder(const char *path, int *lock, struct error *err) {
    struct stat status;
    *lock = -1;
    if (stat(path, &status) < 0 && errno == ENOENT) {
        return 0;
    }
    *lock = run_folder_lock(path, err);
    return *lock < 0 ? -1 : 1;
}

static char *read_or_make(const char *path, struct error *err) {
    char *text = NULL;
    return key_file_read(path, &text, err) == 0 ? key_file_generate(path, err) : text;
}

static bool digest(const char *text, char id[NODE_ID_SIZE], struct error *err) {
    cleanup_buffer struct buffer source = {0};
    char host[128] = "";
    char digest[DIGEST_HEX_SIZE];
    if (gethostname(host, sizeof host - 1) != 0) {
        host[0] = '\0';
    }
    if (!buffer_append_format(&source, "%s\n%s", text, host) ||
        !digest_sha256_hex_lower(source.data, source.length, digest)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    memcpy(id, digest, NODE_ID_SIZE - 1);
    id[NODE_ID_SIZE - 1] = '\0';
    return true;
}

bool node_id_open(const char *run_dir, char id[NODE_ID_SIZE], int *lock, struct error *err) {
    cleanup_buffer struct buffer folder = {0};
    cleanup_buffer struct buffer path = {0};
    *lock = -1;
    if (!buffer_append_format(&folder, "%s/node", run_dir)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    int is_kept = lock_folder(folder.data, lock, err);
    if (is_kept < 0) {
        return false;
    }
    if (!buffer_append_format(&path, "%s/node.id", is_kept ? folder.data : run_dir)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_secret char *text = read_or_make(path.data, err);
    return text != NULL && digest(text, id, err);
}
