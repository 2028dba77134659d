/* text_pdf.c - PDF, with pdftotext from poppler-utils. */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instance/text_reader.h"

#define NOT_INSTALLED 127

static void run_tool(void) {
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0 && dup2(null, STDERR_FILENO) >= 0) {
        execlp("pdftotext", "pdftotext", "-q", "-nopgbrk", "-enc", "UTF-8", "/proc/self/fd/0", "-", (char *)NULL);
    }
    _exit(NOT_INSTALLED);
}

enum text_result text_read_pdf(struct text_sink *sink) {
    (void)sink; /* it writes to standard output by itself */
    pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        run_tool();
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return TEXT_DAMAGED;
    }
    return WEXITSTATUS(status) == 0 ? TEXT_READ : WEXITSTATUS(status) == NOT_INSTALLED ? TEXT_NO_TOOL : TEXT_DAMAGED;
}
