/* Runs one command as a subreaper, and ends when nothing that it started, directly or not, is left.
 *
 * Every process of a stack stays a descendant of this one, however it daemonises and whoever is killed above it, so a
 * test can ask "what is left?" and get the whole answer. Lines on the report descriptor: `pid N` when the command runs,
 * `exit N` when it ended (negative: the signal). Usage: reaper REPORT_FD COMMAND [ARGUMENT...]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void run(char **command) {
    setsid();
    signal(SIGINT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    execvp(command[0], command);
    fprintf(stderr, "exec %s: %s\n", command[0], strerror(errno));
    _exit(127);
}

int main(int count, char **arguments) {
    if (count < 3) {
        fputs("usage: reaper REPORT_FD COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    int report = atoi(arguments[1]);
    /* The tests speak to the command, not to us. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    pid_t child;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 || (child = fork()) < 0) {
        perror("reaper");
        return 1;
    }
    if (child == 0) {
        close(report);
        run(arguments + 2);
    }
    dprintf(report, "pid %d\n", (int)child);
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno != EINTR) {
            return errno == ECHILD ? 0 : 1; /* nothing is left */
        }
        if (pid == child) {
            dprintf(report, "exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
        }
    }
}
