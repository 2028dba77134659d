/* options_key.c - the API key: from where it is given to where no command that is run later can see it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "instance/options_table.h"

#define KEY_MAX_BYTES        4096
#define GENERATED_KEY_LENGTH 64 /* of 6 bits each */
#define KEY_VARIABLE         "OPEN_TERMINAL_API_KEY"
#define KEY_FILE_VARIABLE    "OPEN_TERMINAL_API_KEY_FILE"

/* The first line of the file. */
static char *read_key_file(const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char key[KEY_MAX_BYTES];
    ssize_t length = fd >= 0 ? read(fd, key, sizeof key - 1) : -1;
    if (length < 0) {
        error_set_errno(err, ERROR_INVALID, "read the API key from `%s`", path);
        return NULL;
    }
    key[length] = '\0';
    key[strcspn(key, "\r\n")] = '\0';
    char *copy = strdup(key);
    explicit_bzero(key, sizeof key);
    if (copy == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    } else if (*copy == '\0') {
        error_set(err, ERROR_INVALID, "the API key file `%s` is empty", path);
        free(copy);
        copy = NULL;
    }
    return copy;
}

static char *generate_key(void) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char random[GENERATED_KEY_LENGTH];
    char *key = malloc(GENERATED_KEY_LENGTH + 1);
    while (key != NULL && getrandom(random, sizeof random, 0) != sizeof random) {
        /* Only a signal in early boot interrupts it (getrandom(2)). */
    }
    for (size_t i = 0; key != NULL && i < GENERATED_KEY_LENGTH; i++) {
        key[i] = digits[random[i] & 63];
        key[i + 1] = '\0';
    }
    explicit_bzero(random, sizeof random);
    return key;
}

bool options_read_key_file(struct option_values *values, struct error *err) {
    const char *path = getenv(KEY_FILE_VARIABLE);
    char **key = &values->text[OPTION_API_KEY];
    if (*key != NULL || path == NULL || *path == '\0') {
        return true;
    }
    if (getenv(KEY_VARIABLE) != NULL) {
        return error_set(err, ERROR_INVALID, "set %s or %s, not both", KEY_VARIABLE, KEY_FILE_VARIABLE);
    }
    *key = read_key_file(path, err);
    return *key != NULL;
}

bool options_take_key(struct option_values *values, struct options *options, struct error *err) {
    char *variable = getenv(KEY_VARIABLE);
    if (variable != NULL) {
        explicit_bzero(variable, strlen(variable)); /* /proc/self/environ shows these very bytes */
    }
    unsetenv(KEY_VARIABLE);
    unsetenv(KEY_FILE_VARIABLE);
    options->api_key = steal_pointer(&values->text[OPTION_API_KEY]);
    if (options->api_key == NULL && !options->is_stdio) {
        options->api_key = generate_key();
        options->is_key_generated = true;
    }
    return options->api_key != NULL || options->is_stdio || error_set(err, ERROR_INTERNAL, "out of memory");
}
