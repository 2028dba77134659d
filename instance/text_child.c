#include "instance/text_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "/proc/self/exe"
#define OFFICE  "application/vnd.openxmlformats-officedocument."
#define OASIS   "application/vnd.oasis.opendocument."

static const struct {
    const char *media_type;
    const char *kind;
} kinds[] = {
    {"application/pdf", "pdf"},
    {"application/rtf", "rtf"},
    {"application/epub+zip", "epub"},
    {OFFICE "wordprocessingml.document", "docx"},
    {OFFICE "presentationml.presentation", "pptx"},
    {OFFICE "spreadsheetml.sheet", "xlsx"},
    {OASIS "text", "open-document"},
    {OASIS "spreadsheet", "open-document"},
    {OASIS "presentation", "open-document"},
};

const char *text_child_kind(const char *media_type) {
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(media_type, kinds[i].media_type) == 0) {
            return kinds[i].kind;
        }
    }
    return NULL;
}

const char *text_child_tool(const char *kind) {
    return strcmp(kind, "pdf") == 0 ? "pdftotext (Debian: apt install poppler-utils)" : "nothing more";
}

/* The signals that are blocked or ignored here are not there, and the tools it calls are found as usual. */
static int spawn(const posix_spawn_file_actions_t *actions, const char *kind) {
    char *arguments[] = {(char *)"open-terminal", (char *)"text", (char *)kind, NULL};
    char *environment[] = {(char *)"PATH=/usr/local/bin:/usr/bin:/bin", (char *)"LC_ALL=C.UTF-8", NULL};
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t all;
    pid_t pid;
    sigemptyset(&none);
    sigfillset(&all);
    int problem = posix_spawnattr_init(&attributes);
    if (problem != 0) {
        return problem;
    }
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    problem = posix_spawn(&pid, PROGRAM, actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    return problem; /* the loop buries it (main.c) */
}

static int start(int document, int text, int word, const char *kind) {
    posix_spawn_file_actions_t actions;
    int problem = posix_spawn_file_actions_init(&actions);
    if (problem != 0) {
        return problem;
    }
    problem = posix_spawn_file_actions_adddup2(&actions, document, STDIN_FILENO);
    problem = problem != 0 ? problem : posix_spawn_file_actions_adddup2(&actions, text, STDOUT_FILENO);
    problem = problem != 0 ? problem : posix_spawn_file_actions_adddup2(&actions, word, STDERR_FILENO);
    problem = problem != 0 ? problem : spawn(&actions, kind);
    posix_spawn_file_actions_destroy(&actions);
    return problem;
}

bool text_child_start(int document, const char *kind, struct text_child *child) {
    int text[2] = {-1, -1};
    int word[2] = {-1, -1};
    *child = (struct text_child){-1, -1};
    if (lseek(document, 0, SEEK_SET) != 0) {
        return false;
    }
    int problem = pipe2(text, O_CLOEXEC) == 0 && pipe2(word, O_CLOEXEC) == 0 ? 0 : errno;
    problem = problem != 0 ? problem : start(document, text[1], word[1], kind);
    if (text[1] >= 0) {
        close(text[1]);
    }
    if (word[1] >= 0) {
        close(word[1]);
    }
    *child = (struct text_child){text[0], word[0]};
    if (problem != 0) {
        text_child_close(child);
        errno = problem;
    }
    return problem == 0;
}

enum text_child_word text_child_word(const struct text_child *child) {
    char word[16] = "";
    ssize_t got;
    do {
        got = read(child->word, word, sizeof(word) - 1);
    } while (got < 0 && errno == EINTR);
    return got <= 0                       ? TEXT_CHILD_DAMAGED
           : strcmp(word, "read") == 0    ? TEXT_CHILD_READ
           : strcmp(word, "binary") == 0  ? TEXT_CHILD_BINARY
           : strcmp(word, "no tool") == 0 ? TEXT_CHILD_NO_TOOL
                                          : TEXT_CHILD_DAMAGED;
}

void text_child_close(struct text_child *child) {
    if (child->text >= 0) {
        close(child->text);
    }
    if (child->word >= 0) {
        close(child->word);
    }
    *child = (struct text_child){-1, -1};
}
