#include "provisioner/backends/program.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

/* The real path of folder/name if that is an executable file, else NULL. */
static char *executable_at(const char *folder, int folder_length, const char *name) {
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%.*s%s%s", folder_length, folder, folder_length > 0 ? "/" : "", name) < 0) {
        path = NULL;
        return NULL;
    }
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode) || access(path, X_OK) != 0) {
        return NULL;
    }
    return realpath(path, NULL);
}

static char *find_beside_us(const char *name) {
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        return NULL;
    }
    self[length] = '\0';
    const char *slash = strrchr(self, '/');
    return slash == NULL ? NULL : executable_at(self, (int)(slash - self), name);
}

bool program_is_ours(const char *path, const char *name) {
    cleanup_free char *beside_us = find_beside_us(name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char magic[4];
    return beside_us != NULL && strcmp(beside_us, path) == 0 && fd >= 0 &&
           read(fd, magic, sizeof magic) == sizeof magic && memcmp(magic, "\177ELF", sizeof magic) == 0;
}

char *program_find(const char *name) {
    if (strchr(name, '/') != NULL) {
        return executable_at("", 0, name);
    }
    char *found = find_beside_us(name);
    const char *path = getenv("PATH");
    path = path == NULL ? "/usr/local/bin:/usr/bin:/bin" : path;
    while (found == NULL && *path != '\0') {
        size_t length = strcspn(path, ":");
        if (length > 0) { /* an empty element means the working folder: not for what we run */
            found = executable_at(path, (int)length, name);
        }
        path += length + (path[length] == ':');
    }
    return found;
}

static bool is_in_system(const char *path) {
    static const char *const folders[] = {"/usr/", "/bin/", "/sbin/"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        if (strncmp(path, folders[i], strlen(folders[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* "#!/x/bin/python3 -s" → "/x/bin/python3"; false if the file is no script. */
static bool read_interpreter(const char *path, char *interpreter, size_t size) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, interpreter, size - 1);
    if (length < 3) {
        return false;
    }
    interpreter[length] = '\0';
    if (strncmp(interpreter, "#!", 2) != 0) {
        return false;
    }
    const char *start = interpreter + 2 + strspn(interpreter + 2, " \t");
    size_t name_length = strcspn(start, " \t\r\n");
    memmove(interpreter, start, name_length);
    interpreter[name_length] = '\0';
    return true;
}

bool program_interpreter_folder(const char *path, char **folder, struct error *err) {
    char interpreter[PATH_MAX];
    *folder = NULL;
    if (!read_interpreter(path, interpreter, sizeof interpreter) || is_in_system(interpreter)) {
        return true;
    }
    /* <folder>/bin/python of a virtual environment, which links to an interpreter that must itself be visible. */
    cleanup_free char *target = realpath(interpreter, NULL);
    char *slash = strrchr(interpreter, '/');
    if (slash != NULL && target != NULL && is_in_system(target)) {
        *slash = '\0';
        char *parent = strrchr(interpreter, '/');
        if (parent != NULL && parent != interpreter) {
            *parent = '\0';
            cleanup_free char *configuration = NULL;
            if (asprintf(&configuration, "%s/pyvenv.cfg", interpreter) < 0) {
                configuration = NULL;
            }
            if (configuration != NULL && access(configuration, R_OK) == 0) {
                *folder = strdup(interpreter);
                return *folder != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
            }
        }
    }
    return error_set(err, ERROR_BACKEND,
                     "`%s` is a script whose interpreter is not below /usr, where a sandbox could see it", path);
}
