/* What a shell leaves behind when it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A background job that writes as fast as its terminal is read. */
static ssize_t read_what_never_ends(int fd, void *out, size_t size) {
    (void)fd;
    memset(out, 'y', size);
    return (ssize_t)size;
}

#define read read_what_never_ends
#include "instance/terminal_table.c"
#undef read

#define FAR_TOO_MUCH_BYTES (64 * 1024 * 1024)

/* ---- a client that takes all, in the place of terminal_client.c and websocket.c ---- */

static size_t sent_bytes;
static bool is_told_of_the_end;

void terminal_client_send(struct terminal_client *client, const char *bytes, size_t length) {
    (void)client;
    assert_int_equal(bytes[0], 'y');
    sent_bytes += length;
    assert_true(sent_bytes < FAR_TOO_MUCH_BYTES);
}

void terminal_client_end(struct terminal_client *client) {
    (void)client;
    is_told_of_the_end = true;
}

void terminal_client_drop(struct terminal_client *client) {
    (void)client;
}

size_t websocket_queued_bytes(const struct websocket *websocket) {
    (void)websocket;
    return 0;
}

void websocket_pause(struct websocket *websocket, bool is_paused) {
    (void)websocket;
    (void)is_paused;
}

/* ---- */

/* `yes & exit` */
static void test_a_job_that_goes_on_writing_does_not_outlive_its_shell(void **state) {
    (void)state;
    static const struct options options = {.max_sessions = 1};
    struct instance instance = {.options = &options, .loop = loop_new(NULL, NULL)};
    struct terminal_table *table = terminal_table_new(&instance);
    struct open_terminal *shell = calloc(1, sizeof *shell);
    struct terminal_client client = {.table = table, .terminal = &shell->terminal};
    int reports[2];
    const struct guardian_report end = {GUARDIAN_ENDED, 0};
    assert_non_null(instance.loop);
    assert_int_equal(pipe2(reports, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(write(reports[1], &end, sizeof end), sizeof end);
    signal(SIGHUP, SIG_DFL); /* nohup(1) had us ignore it, and what we fork */
    pid_t guardian = fork();
    if (guardian == 0) {
        pause();
        _exit(0);
    }
    *shell = (struct open_terminal){
        .table = table,
        .guardian = {.pid = guardian, .reports = reports[0]},
        .output = {.fd = open("/dev/null", O_RDWR | O_CLOEXEC)},
        .reports = {.fd = reports[0]},
        .clients = &client,
    };
    table->first = &shell->terminal;
    table->count = 1;

    on_report(&shell->reports, EPOLLIN);

    assert_true(is_told_of_the_end);
    assert_true(sent_bytes > 0); /* its last words */
    assert_null(terminal_first(table));
    int status = 0;
    assert_int_equal(waitpid(guardian, &status, 0), guardian);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
    close(reports[1]);
    terminal_table_free(table);
    loop_free(instance.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_that_goes_on_writing_does_not_outlive_its_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
