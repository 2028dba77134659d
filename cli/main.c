/* main.c - `terminals`: what a person, or cron, types. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/apply.h"
#include "cli/backup.h"
#include "cli/check.h"
#include "cli/db.h"
#include "cli/doctor.h"
#include "cli/gc.h"
#include "cli/make_key.h"
#include "cli/reap.h"
#include "cli/serve.h"
#include "cli/top.h"
#include "common/version.h"

static int help(int argc, char **argv);
static int version(int argc, char **argv);

static const struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} subcommands[] = {
    {"serve", serve, "start everything and keep it running until Ctrl-C"},
    {"reap", reap, "stop the instances that nobody uses and do the resets that are due, now"},
    {"apply", apply, "make the policies and lifecycles be what files say"},
    {"check", check, "ask one of the processes whether it is there"},
    {"doctor", doctor, "check the settings and what they point to, and say what to do about what is wrong"},
    {"top", top, "show whose instances run, the most active first"},
    {"backup", backup, "write the database and users' folders into a file"},
    {"restore", restore, "put a backup in its place"},
    {"gc", gc, "list and remove what nobody owns any more"},
    {"make-key", make_key, "make an API key in a file, unless there is one"},
    {"db", db, "the database: its version, and the key that the instances' keys are encrypted with"},
    {"version", version, "print the version"},
    {"help", help, "print this"},
};

#define SUBCOMMANDS (sizeof subcommands / sizeof subcommands[0])

static void print_usage(FILE *out) {
    fputs("usage: terminals <command> [flags]\n\n", out);
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        fprintf(out, "  %-9s %s\n", subcommands[i].name, subcommands[i].help);
    }
}

static int help(int argc, char **argv) {
    (void)argc;
    (void)argv;
    print_usage(stdout);
    return EXIT_SUCCESS;
}

static int version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    puts("terminals " TERMINALS_VERSION);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(name, subcommands[i].name) == 0) {
            return subcommands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "terminals: unknown command `%s`\n\n", name);
    print_usage(stderr);
    return 2;
}
