#include "cli/top_screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_C 3

/* ECMA-48 and xterm: the alternate screen, the cursor off and on, home, clear to the end of the line, of the screen. */
#define ENTER        "\033[?1049h\033[?25l"
#define LEAVE        "\033[?25h\033[?1049l"
#define HOME         "\033[H"
#define CLEAR_LINE   "\033[K"
#define CLEAR_SCREEN "\033[J"

static volatile sig_atomic_t is_ended;
static struct termios before;
static sigset_t unblocked; /* while waiting: the signals come in there and nowhere else */

static void on_end(int number) {
    (void)number;
    is_ended = 1;
}

static void on_resize(int number) {
    (void)number; /* that it interrupts the wait is all */
}

static bool write_all(const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, length);
        if (written < 0 && errno != EINTR) {
            return false;
        }
        bytes += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

static void watch_signals(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_end};
    sigset_t blocked;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        sigaction(ends[i], &action, NULL);
        sigaddset(&blocked, ends[i]);
    }
    action.sa_handler = on_resize;
    sigaction(SIGWINCH, &action, NULL);
    sigaddset(&blocked, SIGWINCH);
    sigprocmask(SIG_BLOCK, &blocked, &unblocked);
}

bool top_screen_open(struct error *err) {
    if (tcgetattr(STDIN_FILENO, &before) != 0) {
        return error_set_errno(err, ERROR_INVALID, "read the state of the terminal");
    }
    struct termios raw = before;
    raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    watch_signals();
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "take over the terminal");
    }
    if (!write_all(ENTER, strlen(ENTER))) {
        top_screen_close();
        return error_set_errno(err, ERROR_INTERNAL, "write to the terminal");
    }
    return true;
}

void top_screen_close(void) {
    (void)write_all(LEAVE, strlen(LEAVE)); /* a terminal that is gone needs nothing put back */
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

void top_screen_size(size_t *columns, size_t *rows) {
    struct winsize size = {0};
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    *columns = is_known ? size.ws_col : 80;
    *rows = is_known ? size.ws_row : 24;
}

/* The last line feed would scroll the first line away. */
bool top_screen_draw(const struct buffer *lines) {
    cleanup_buffer struct buffer frame = {0};
    buffer_append_string(&frame, HOME);
    for (size_t i = 0; i < lines->length; i++) {
        if (lines->data[i] != '\n') {
            buffer_append(&frame, lines->data + i, 1);
        } else {
            buffer_append_string(&frame, i + 1 < lines->length ? CLEAR_LINE "\n" : CLEAR_LINE);
        }
    }
    buffer_append_string(&frame, CLEAR_SCREEN);
    return !frame.failed && write_all(frame.data, frame.length);
}

int top_screen_wait(int timeout_ms) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    const struct timespec timeout = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1000000L};
    unsigned char key = 0;
    int ready = ppoll(&input, 1, &timeout, &unblocked);
    if (is_ended || (ready > 0 && (input.revents & POLLIN) == 0)) {
        return -1;
    }
    if (ready <= 0) {
        return 0;
    }
    ssize_t length = read(STDIN_FILENO, &key, 1);
    return length == 0 || key == CTRL_C ? -1 : length < 0 ? 0 : key;
}
