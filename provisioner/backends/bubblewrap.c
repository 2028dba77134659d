#include "provisioner/backends/bubblewrap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/program.h"
#include "provisioner/backends/spawn.h"

#define INSIDE_PROGRAM    "/run/terminals/open-terminal"
#define INSIDE_ID         "1000"
#define TMP_MAX_BYTES     "1073741824" /* /tmp is memory: without a limit one user could take all of it */
#define SHM_MAX_BYTES     "268435456"
#define WARM_HOME_BYTES   "65536" /* what a home is mounted over; nobody writes there */
#define PROBE_TIMEOUT_MS  5000
#define PROBE_ANSWER_SIZE 512

/* On a system with merged /usr these are links into it, on others folders of their own. */
static const char *const system_folders[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

static const struct sandbox_file account_files[] = {
    {"passwd", "root:x:0:0:root:/root:/usr/sbin/nologin\n" BUBBLEWRAP_USER ":x:" INSIDE_ID ":" INSIDE_ID
               "::" BUBBLEWRAP_HOME ":/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
    {"group", "root:x:0:\ntty:x:5:\n" BUBBLEWRAP_USER ":x:" INSIDE_ID ":\nnogroup:x:65534:\n"},
};

static void add_system(const struct bubblewrap *sandbox, struct string_list *arguments) {
    string_list_add(arguments, "--ro-bind", "/usr", "/usr");
    for (size_t i = 0; i < sizeof system_folders / sizeof *system_folders; i++) {
        const char *folder = system_folders[i];
        struct stat status;
        char target[256];
        if (lstat(folder, &status) != 0) {
            continue;
        }
        ssize_t length = S_ISLNK(status.st_mode) ? readlink(folder, target, sizeof target - 1) : -1;
        if (length > 0) {
            target[length] = '\0';
            string_list_add(arguments, "--symlink", target, folder);
        } else {
            string_list_add(arguments, "--ro-bind", folder, folder);
        }
    }
    sandbox_etc_add_mounts(sandbox->etc, arguments);
    if (sandbox->interpreter_folder != NULL) {
        string_list_add(arguments, "--ro-bind", sandbox->interpreter_folder, sandbox->interpreter_folder);
    }
}

/* /proc is read-only as a whole: when the provisioner runs as root, the instance's kernel uid is 0, and that, not a
 * capability, is what /proc/sys asks of a writer. bwrap 0.8 covers /proc/sys only where the folder itself looks
 * writable, which it never does.
 *
 * Not --die-with-parent: an instance outlives us. Not --new-session: the process is a session leader without a terminal
 * already (spawn.c). */
static void add_sandbox(const struct bubblewrap *sandbox, const char *home, int info_fd,
                        struct string_list *arguments) {
    string_list_add(arguments, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts",
                    "--unshare-cgroup-try", "--uid", INSIDE_ID, "--gid", INSIDE_ID, "--cap-drop", "ALL", "--hostname",
                    "terminal", "--unsetenv", sandbox->hidden_variable);
    if (sandbox->user_namespaces_off) {
        string_list_add(arguments, "--disable-userns");
    }
    if (info_fd >= 0) {
        string_list_add(arguments, "--info-fd");
        string_list_add_format(arguments, "%d", info_fd);
    }
    add_system(sandbox, arguments);
    string_list_add(arguments, "--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev", "--size", SHM_MAX_BYTES,
                    "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--perms", "1777", "--size", TMP_MAX_BYTES,
                    "--tmpfs", "/tmp", "--symlink", "../tmp", "/var/tmp", "--symlink", "../run", "/var/run");
    if (home != NULL) {
        string_list_add(arguments, "--bind", home, BUBBLEWRAP_HOME);
    } else {
        string_list_add(arguments, "--perms", "0700", "--size", WARM_HOME_BYTES, "--tmpfs", BUBBLEWRAP_HOME);
    }
    string_list_add(arguments, "--chdir", BUBBLEWRAP_HOME, "--ro-bind", sandbox->binary, INSIDE_PROGRAM, "--remount-ro",
                    "/");
}

void bubblewrap_refresh(const struct bubblewrap *sandbox) {
    struct error err;
    if (!sandbox_etc_refresh(sandbox->etc, &err)) {
        log_warning(NULL, "instances see an older /etc: %s", err.message);
    }
}

/* bwrap reads its own arguments from SPAWN_WORDS_FD: none of them show in ps, and it waits for them (spawn.h). Told
 * nothing it finds an empty file system, and no program in it. */
static void add_program(const struct bubblewrap *sandbox, const char *program, struct string_list *arguments) {
    string_list_add(arguments, sandbox->program, "--args");
    string_list_add_format(arguments, "%d", SPAWN_WORDS_FD);
    string_list_add(arguments, "--", program);
}

void bubblewrap_add_command(const struct bubblewrap *sandbox, const char *home, int info_fd,
                            struct string_list *arguments, struct string_list *words) {
    bubblewrap_refresh(sandbox);
    add_program(sandbox, INSIDE_PROGRAM, arguments);
    add_sandbox(sandbox, home, info_fd, words);
}

int bubblewrap_parse_info(const char *text) {
    static const char member[] = "\"child-pid\":";
    const char *at = strstr(text, member);
    int pid;
    return at != NULL && sscanf(at + strlen(member), "%d", &pid) == 1 && pid > 0 ? pid : -1;
}

static bool open_etc(struct bubblewrap *sandbox, const char *run_dir, struct error *err) {
    if (asprintf(&sandbox->folder, "%s/sandbox", run_dir) < 0) {
        sandbox->folder = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (mkdir(sandbox->folder, 0755) != 0 && errno != EEXIST) {
        return error_set_errno(err, ERROR_INTERNAL, "make `%s`", sandbox->folder);
    }
    sandbox->etc =
        sandbox_etc_open(sandbox->folder, "/etc", account_files, sizeof account_files / sizeof *account_files, err);
    return sandbox->etc != NULL;
}

/* Waits for the end of a process by its pidfd. False: it took too long, and was killed. */
static bool wait_for_end(const struct spawned *process, int *status) {
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    bool has_ended = poll(&ended, 1, PROBE_TIMEOUT_MS) == 1;
    if (!has_ended) {
        kill(process->pid, SIGKILL);
    }
    return waitpid(process->pid, status, 0) == process->pid && has_ended;
}

/* Runs `true` in exactly the sandbox an instance gets, our folder taking the home's place. */
static bool probe(const struct bubblewrap *sandbox, struct error *err) {
    cleanup_string_list struct string_list arguments = {0};
    cleanup_string_list struct string_list words = {0};
    cleanup_string_list struct string_list environment = {0};
    add_program(sandbox, "/usr/bin/true", &arguments);
    add_sandbox(sandbox, sandbox->folder, -1, &words);
    string_list_add(&environment, "PATH=/usr/bin:/bin");
    int ends[2];
    if (arguments.failed || words.failed || environment.failed || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return error_set(err, ERROR_INTERNAL, "out of memory or descriptors");
    }
    cleanup_close int read_end = ends[0];
    cleanup_close int write_end = ends[1];
    const struct spawn_request request = {.arguments = arguments.strings,
                                          .words = &words,
                                          .environment = environment.strings,
                                          .folder = "/",
                                          .output_fd = write_end,
                                          .info_fd = -1};
    struct spawned process;
    if (!spawn_held(&request, &process, err)) {
        err->code = ERROR_INTERNAL; /* it says nothing about bwrap */
        return false;
    }
    cleanup_close int pidfd = process.pidfd;
    (void)pidfd;
    spawn_release(&process);
    int status = 0;
    if (!wait_for_end(&process, &status)) {
        return error_set(err, ERROR_TIMEOUT, "%s did not run `true` within %d s", sandbox->program,
                         PROBE_TIMEOUT_MS / 1000);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    char said[PROBE_ANSWER_SIZE] = "";
    ssize_t length = read(read_end, said, sizeof said - 1);
    said[length > 0 ? length : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    return error_set(err, ERROR_BACKEND, "%s does not work here: %s", sandbox->program,
                     said[0] != '\0' ? said : "it ended without saying why");
}

void bubblewrap_close(struct bubblewrap *sandbox) {
    free(sandbox->program);
    free(sandbox->binary);
    free(sandbox->interpreter_folder);
    free(sandbox->folder);
    sandbox_etc_close(sandbox->etc);
    *sandbox = (struct bubblewrap){0};
}

bool bubblewrap_open(struct bubblewrap *sandbox, const char *run_dir, const char *binary, const char *hidden_variable,
                     struct error *err) {
    *sandbox = (struct bubblewrap){.hidden_variable = hidden_variable, .user_namespaces_off = true};
    sandbox->program = program_find("bwrap");
    sandbox->binary = strdup(binary);
    bool opened = true;
    if (sandbox->program == NULL) {
        opened = error_set(err, ERROR_BACKEND, "bwrap is not installed (Debian package bubblewrap)");
    } else if (sandbox->binary == NULL) {
        opened = error_set(err, ERROR_INTERNAL, "out of memory");
    }
    opened = opened && program_interpreter_folder(binary, &sandbox->interpreter_folder, err) &&
             open_etc(sandbox, run_dir, err);
    if (opened && !probe(sandbox, err) && (opened = err->code == ERROR_BACKEND)) {
        sandbox->user_namespaces_off = false; /* an older bwrap, or a kernel that does not let it */
        opened = probe(sandbox, err);
    }
    if (!opened) {
        bubblewrap_close(sandbox);
    }
    return opened;
}
