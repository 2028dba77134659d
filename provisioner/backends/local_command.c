#include "provisioner/backends/local_command.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "provisioner/backends/spawn.h"

#define BINARY_FOLDERS "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

bool local_command_may_set(const char *variable) {
    static const char *const ours[] = {LOCAL_MARK,
                                       "HOME",
                                       "USER",
                                       "LOGNAME",
                                       "OPEN_TERMINAL_API_KEY",
                                       "OPEN_TERMINAL_API_KEY_FILE",
                                       "OPEN_TERMINAL_HOST",
                                       "OPEN_TERMINAL_PORT"};
    /* glibc's own list of what a program with more rights than its caller must not listen to (ld.so(8), unsecvars.h).
     */
    static const char *const unsafe[] = {"GCONV_PATH",  "GETCONF_DIR",      "GLIBC_TUNABLES", "HOSTALIASES",
                                         "LOCALDOMAIN", "LOCPATH",          "MALLOC_TRACE",   "NIS_PATH",
                                         "NLSPATH",     "RESOLV_HOST_CONF", "RES_OPTIONS"};
    bool may = strncmp(variable, "LD_", 3) != 0;
    for (size_t i = 0; may && i < sizeof ours / sizeof ours[0]; i++) {
        may = strcmp(variable, ours[i]) != 0;
    }
    for (size_t i = 0; may && i < sizeof unsafe / sizeof unsafe[0]; i++) {
        may = strcmp(variable, unsafe[i]) != 0;
    }
    return may;
}

/* A variable of the policy. */
static const char *set_by_policy(const struct local_command *command, const char *variable) {
    return json_get_string(command->env, variable);
}

/* One that is as we say unless the policy says otherwise. */
static void add_default(const struct local_command *command, struct string_list *environment, const char *variable,
                        const char *value) {
    if (set_by_policy(command, variable) == NULL) {
        string_list_add_format(environment, "%s=%s", variable, value);
    }
}

static void add_policy(const struct local_command *command, struct string_list *environment) {
    if (command->env == NULL) {
        return;
    }
    json_object_object_foreach(command->env, variable, value) {
        const char *text = json_object_get_string(value);
        if (local_command_may_set(variable) && text != NULL) {
            string_list_add_format(environment, "%s=%s", variable, text);
        }
    }
}

static void build_environment(const struct local_command *command, struct string_list *environment) {
    const struct passwd *account = command->sandbox == NULL ? getpwuid(geteuid()) : NULL;
    const char *home = command->sandbox == NULL ? command->home : BUBBLEWRAP_HOME;
    const char *user = account == NULL ? BUBBLEWRAP_USER : account->pw_name;
    const char *shell = access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
    string_list_add_format(environment, LOCAL_MARK "=%s", command->mark); /* first: found fast */
    string_list_add_format(environment, "OPEN_TERMINAL_API_KEY=%s", command->key);
    if (set_by_policy(command, "PATH") == NULL) {
        string_list_add_format(environment, "PATH=%s/.local/bin:" BINARY_FOLDERS, home);
    }
    string_list_add_format(environment, "HOME=%s", home);
    string_list_add_format(environment, "USER=%s", user);
    string_list_add_format(environment, "LOGNAME=%s", user);
    add_default(command, environment, "SHELL", shell);
    add_default(command, environment, "LANG", "C.UTF-8");
    add_default(command, environment, "TERM", "xterm-256color");
    add_policy(command, environment);
}

void local_command_build(const struct local_command *command, struct string_list *arguments, struct string_list *words,
                         struct string_list *environment) {
    build_environment(command, environment);
    if (command->sandbox != NULL) {
        bubblewrap_add_command(command->sandbox, command->home, command->info_fd, arguments, words);
    } else {
        string_list_add(arguments, command->binary);
    }
    string_list_add(arguments, "run");
    if (command->sandbox == NULL && command->waits) {
        string_list_add(arguments, "--wait-fd");
        string_list_add_format(arguments, "%d", SPAWN_WORDS_FD);
        string_list_add(words, "go");
    }
    string_list_add(arguments, "--host", "127.0.0.1", "--port");
    string_list_add_format(arguments, "%u", command->port);
}
