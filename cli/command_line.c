#include "cli/command_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_end(const struct command_argument *argument) {
    return argument->flag == NULL && argument->value == NULL;
}

/* The one that `word` is the name of, or may stand for without a name; else the end of the list. */
static const struct command_argument *find(const struct command_argument *arguments, const char *word) {
    const struct command_argument *argument = arguments;
    while (!is_end(argument) &&
           !(argument->name == NULL ? word[0] != '-' && *argument->value == NULL : strcmp(argument->name, word) == 0)) {
        argument++;
    }
    return argument;
}

/* Behind a `=` there may be a secret, of somebody who takes this command for another one. */
static int complain(const char *usage, const char *command, const char *what, const char *word) {
    fprintf(stderr, "terminals %s: %s `%.*s`\n\n", command, what, (int)strcspn(word, "="), word);
    return command_line_refuse(usage);
}

bool command_line_read(const char *usage, const struct command_argument *arguments, int argc, char **argv,
                       int *status) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        *status = EXIT_SUCCESS;
        return false;
    }
    for (int i = 1; i < argc; i++) {
        const struct command_argument *argument = find(arguments, argv[i]);
        if (is_end(argument)) {
            *status = complain(usage, argv[0], "unknown argument", argv[i]);
            return false;
        }
        if (argument->flag != NULL) {
            *argument->flag = true;
            continue;
        }
        if (argument->name != NULL && ++i == argc) {
            *status = complain(usage, argv[0], "a value is missing after", argument->name);
            return false;
        }
        *argument->value = argv[i];
    }
    return true;
}

int command_line_refuse(const char *usage) {
    fputs(usage, stderr);
    return COMMAND_LINE_WRONG;
}

bool command_line_seconds(const char *text, long least, long most, long *seconds, struct error *err) {
    char *end = NULL;
    errno = 0;
    *seconds = strtol(text, &end, 10);
    /* strtol() would also take leading white space and a sign */
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    return (is_number && *seconds >= least && *seconds <= most) ||
           error_set(err, ERROR_INVALID, "`%s` is not a number of seconds from %ld to %ld", text, least, most);
}
