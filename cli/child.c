#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"

#define FIRST_INHERITED_FD 3 /* SD_LISTEN_FDS_START, sd_listen_fds(3) */
#define EXIT_NOT_STARTED   1
#define EXIT_CONFIGURATION 78 /* EX_CONFIG, sysexits.h: trying again changes nothing */

char *child_list_for_haproxy(const char *list) {
    static const char separators[] = ", \t";
    struct buffer spaced = {0};
    bool fine = buffer_append_string(&spaced, "");
    while (fine && *(list += strspn(list, separators)) != '\0') {
        size_t length = strcspn(list, separators);
        fine = (spaced.length == 0 || buffer_append_string(&spaced, " ")) && buffer_append(&spaced, list, length);
        list += length;
    }
    return buffer_take(&spaced);
}

/* Moves the sockets to 3, 4, …, where sd_listen_fds(3) has them, and names them. */
static bool hand_over_listeners(const struct child_plan *plan, enum program_id id, struct error *err) {
    char names[256] = "";
    int fds[PROGRAM_LISTENERS_MAX];
    int count = 0;
    for (; count < PROGRAM_LISTENERS_MAX && programs[id].listeners[count] != NULL; count++) {
        /* Out of the way of the numbers they are to have. */
        fds[count] =
            fcntl(plan->run_folder->listeners[id][count], F_DUPFD_CLOEXEC, FIRST_INHERITED_FD + PROGRAM_LISTENERS_MAX);
        if (fds[count] < 0) {
            return error_set_errno(err, ERROR_INTERNAL, "hand over a socket");
        }
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", count == 0 ? "" : ":", programs[id].listeners[count]);
    }
    for (int i = 0; i < count; i++) {
        if (dup2(fds[i], FIRST_INHERITED_FD + i) < 0) {
            return error_set_errno(err, ERROR_INTERNAL, "hand over a socket");
        }
    }
    char number[16];
    char pid[16];
    snprintf(number, sizeof number, "%d", count);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (count == 0) {
        return true;
    }
    return (setenv("LISTEN_FDS", number, 1) == 0 && setenv("LISTEN_PID", pid, 1) == 0 &&
            setenv("LISTEN_FDNAMES", names, 1) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "set the environment");
}

static bool set_environment(const struct child_plan *plan, enum program_id id, struct error *err) {
    if (!settings_export(plan->settings, programs[id].reader, err)) {
        return false;
    }
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    if (id != PROGRAM_PROVISIONER) {
        unsetenv("PGPASSWORD"); /* libpq takes the database's password from there, too */
    }
    if (id != PROGRAM_HAPROXY) {
        return true;
    }
    const char *networks = plan->settings->trusted_proxies;
    cleanup_free char *origins = child_list_for_haproxy(plan->settings->cors_allowed_origins);
    cleanup_free char *proxies = child_list_for_haproxy(networks == NULL ? "" : networks);
    return (origins != NULL && setenv("TERMINALS_CORS_ALLOWED_ORIGINS", origins, 1) == 0 && proxies != NULL &&
            setenv("TERMINALS_TRUSTED_PROXIES", proxies, 1) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "set the environment");
}

static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* with fewer connections it runs as well */
    }
}

/* Only what exec passes on needs undoing: signals that are ignored or blocked. */
static bool detach(pid_t parent, struct error *err) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    if (setpgid(0, 0) != 0 || sigprocmask(SIG_SETMASK, &none, NULL) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "detach");
    }
    /* Whoever started us may have been killed before prctl() could tell. */
    return getppid() == parent || error_set(err, ERROR_INTERNAL, "`terminals serve` is gone");
}

/* A quiet HAProxy puts /dev/null in the place of standard error: its access log gets a descriptor of its own. HAProxy
 * makes that non-blocking, which must not become so for all of us: a pipe or a terminal is opened anew. (A socket
 * cannot be, and a file need not: it never blocks, and has one place where all write.) */
static bool keep_log_open(struct error *err) {
    struct stat status;
    char name[16];
    bool is_opened_anew = fstat(STDERR_FILENO, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode));
    int fd = is_opened_anew ? open("/proc/self/fd/2", O_WRONLY | O_NOCTTY) : -1; /* stays open beyond exec */
    if (fd < 0) {
        fd = fcntl(STDERR_FILENO, F_DUPFD, FIRST_INHERITED_FD);
    }
    snprintf(name, sizeof name, "fd@%d", fd);
    return (fd >= 0 && setenv("TERMINALS_LOG_TARGET", name, 1) == 0) ||
           error_set_errno(err, ERROR_INTERNAL, "hand over standard error");
}

/* Whether exec says this of the program itself, and not of the machine at the moment. */
static bool will_stay(int error) {
    return error == ENOENT || error == EACCES || error == ENOEXEC;
}

/* ERROR_UNPROCESSABLE: there is no such program to run. */
static bool execute(const struct child_plan *plan, enum program_id id, bool quiet, struct error *err) {
    const char *path = plan->executables->programs[id];
    cleanup_free char *master = NULL;
    if (id == PROGRAM_HAPROXY) {
        if (quiet && plan->settings->access_log && !keep_log_open(err)) {
            return false;
        }
        if (asprintf(&master, "%s/haproxy-master.sock,mode,600,level,admin", plan->run_folder->path) < 0) {
            master = NULL;
            return error_set(err, ERROR_INTERNAL, "no memory");
        }
        /* -W: a master, which reloads on SIGUSR2, and its workers, in the foreground. */
        execl(path, path, "-W", "-S", master, "-f", plan->executables->haproxy_config, quiet ? "-q" : (char *)NULL,
              (char *)NULL);
    } else {
        execl(path, path, (char *)NULL);
    }
    return error_set_errno(err, will_stay(errno) ? ERROR_UNPROCESSABLE : ERROR_INTERNAL, "run `%s`", path);
}

pid_t child_start(const struct child_plan *plan, enum program_id id, bool quiet, struct error *err) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        error_set_errno(err, ERROR_INTERNAL, "start %s: fork", programs[id].name);
        return -1;
    }
    if (pid > 0) {
        setpgid(pid, pid); /* here as well: no Ctrl-C may come between */
        return pid;
    }
    struct error why = {0};
    if (programs[id].many_files) {
        raise_file_limit();
    }
    if (detach(parent, &why) && set_environment(plan, id, &why) && hand_over_listeners(plan, id, &why)) {
        execute(plan, id, quiet, &why);
    }
    dprintf(STDERR_FILENO, "%s: %s\n", programs[id].name, why.message);
    _exit(why.code == ERROR_UNPROCESSABLE ? EXIT_CONFIGURATION : EXIT_NOT_STARTED);
}
