/* text_main.c - the process that reads one document: its limits, and who reads what. */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "instance/text_reader.h"

#define TIME_MAX_SECONDS 60
#define MEMORY_MAX_BYTES (1UL << 30)

static const struct {
    const char *kind;
    enum text_result (*read)(struct text_sink *sink);
} readers[] = {
    {"encoded", text_read_encoded}, {"pdf", text_read_pdf},   {"rtf", text_read_rtf},
    {"docx", text_read_docx},       {"pptx", text_read_pptx}, {"open-document", text_read_open_document},
    {"xlsx", text_read_xlsx},       {"epub", text_read_epub},
};

static void limit(int resource, rlim_t value) {
    struct rlimit old;
    if (getrlimit(resource, &old) == 0 && old.rlim_max > value) {
        setrlimit(resource, &(struct rlimit){value, value});
    }
}

/* For what is read here, and for a tool that is called to read it. A limit that cannot be set is one that is lower. */
static void set_limits(void) {
    limit(RLIMIT_CPU, TIME_MAX_SECONDS);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_CORE, 0);
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes */
    limit(RLIMIT_AS, MEMORY_MAX_BYTES);
#endif
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    alarm(TIME_MAX_SECONDS);
}

/* The word for text_child.c, in one write, after all of the text. */
static int tell(const char *word) {
    ssize_t written = write(STDERR_FILENO, word, strlen(word));
    return written == (ssize_t)strlen(word) ? 0 : 1;
}

int text_main(int argc, char **argv) {
    static const char *const words[] = {
        [TEXT_READ] = "read", [TEXT_BINARY] = "binary", [TEXT_DAMAGED] = "damaged", [TEXT_NO_TOOL] = "no tool"};
    struct text_sink sink = {.file = stdout};
    set_limits();
    for (size_t i = 0; argc == 3 && i < sizeof(readers) / sizeof(readers[0]); i++) {
        if (strcmp(argv[2], readers[i].kind) == 0) {
            enum text_result result = readers[i].read(&sink);
            return fflush(stdout) == 0 ? tell(words[result]) : 1;
        }
    }
    return 2;
}
