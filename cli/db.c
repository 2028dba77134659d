#include "cli/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/db_revision.h"
#include "cli/provisioner_program.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/settings.h"

/* Sealing 100,000 keys takes a second or two. */
#define ROTATE_TIMEOUT_MS (60 * 1000)

static const char usage[] =
    "usage: terminals db upgrade | current | history | stamp VERSION\n"
    "       terminals db rotate-key [--new-key-file FILE]\n"
    "       terminals db revision -m MESSAGE\n"
    "\n"
    "  upgrade     brings the database to the version of this program, which the provisioner does by itself when it\n"
    "              starts\n"
    "  current     prints the version of the database, and the one that this program wants\n"
    "  history     lists all versions\n"
    "  stamp       says that the database is at VERSION, and changes nothing else in it\n"
    "  rotate-key  makes a new encryption key and seals all instance keys with it. Terminals may be running.\n"
    "              Where the key is in TERMINALS_ENCRYPTION_KEY, stop Terminals first, give the new key in\n"
    "              FILE, and start Terminals with it.\n"
    "  revision    makes the files of a new version, in the source tree\n";

static bool ask_the_running_one(const char *socket_path, struct error *err) {
    cleanup_json struct json_object *answer =
        provisioner_ask(socket_path, ipc_request("rotate_key"), ROTATE_TIMEOUT_MS, err);
    if (answer == NULL) {
        return false;
    }
    printf("resealed=%lld\n", (long long)json_get_int(answer, "resealed", 0));
    return true;
}

static bool rotate_key(const char *new_key_file, struct error *err) {
    struct settings settings = {0};
    if (!settings_load(&settings, NULL, err)) {
        return false;
    }
    cleanup_free char *path = provisioner_socket_path(&settings, err);
    settings_free(&settings);
    if (path == NULL) {
        return false;
    }
    bool asks = new_key_file == NULL && provisioner_is_running(path);
    return asks ? ask_the_running_one(path, err)
                : provisioner_become((const char *const[]){"--rotate-key", new_key_file, NULL}, err);
}

/* Prints why it did not work. */
static int failed(const char *subcommand, const struct error *err) {
    fprintf(stderr, "terminals db %s: %s\n", subcommand, err->message);
    return EXIT_FAILURE;
}

int db(int argc, char **argv) {
    struct error err = {0};
    const char *name = argc < 2 ? "" : argv[1];
    bool is_look = strcmp(name, "upgrade") == 0 || strcmp(name, "current") == 0 || strcmp(name, "history") == 0;
    if (argc == 2 && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if ((argc == 2 && is_look) || (argc == 3 && strcmp(name, "stamp") == 0)) {
        provisioner_become((const char *const[]){"--database", name, argv[2], NULL}, &err);
        return failed(name, &err);
    }
    if (strcmp(name, "rotate-key") == 0 && (argc == 2 || (argc == 4 && strcmp(argv[2], "--new-key-file") == 0))) {
        return rotate_key(argc == 4 ? argv[3] : NULL, &err) ? EXIT_SUCCESS : failed(name, &err);
    }
    if (argc == 4 && strcmp(name, "revision") == 0 && strcmp(argv[2], "-m") == 0) {
        return db_revision(".", argv[3], &err) ? EXIT_SUCCESS : failed(name, &err);
    }
    fputs(usage, stderr);
    return 2;
}
