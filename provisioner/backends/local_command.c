#include "provisioner/backends/local_command.h"

#include <pwd.h>
#include <unistd.h>

#define BINARY_FOLDERS "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

static void build_environment(const struct local_command *command, struct string_list *environment) {
    const struct passwd *account = command->sandbox == NULL ? getpwuid(geteuid()) : NULL;
    const char *home = command->sandbox == NULL ? command->home : BUBBLEWRAP_HOME;
    const char *user = account == NULL ? BUBBLEWRAP_USER : account->pw_name;
    const char *shell = access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
    string_list_add_format(environment, LOCAL_MARK "=%s", command->mark); /* first: found fast */
    string_list_add_format(environment, "OPEN_TERMINAL_API_KEY=%s", command->key);
    string_list_add_format(environment, "HOME=%s", home);
    string_list_add_format(environment, "PATH=%s/.local/bin:" BINARY_FOLDERS, home);
    string_list_add_format(environment, "USER=%s", user);
    string_list_add_format(environment, "LOGNAME=%s", user);
    string_list_add_format(environment, "SHELL=%s", shell);
    string_list_add(environment, "LANG=C.UTF-8", "TERM=xterm-256color");
}

void local_command_build(const struct local_command *command, struct string_list *arguments,
                         struct string_list *environment) {
    build_environment(command, environment);
    if (command->sandbox != NULL) {
        bubblewrap_add_command(command->sandbox, command->home, command->info_fd, arguments);
    } else {
        string_list_add(arguments, command->binary);
    }
    string_list_add(arguments, "run", "--host", "127.0.0.1", "--port");
    string_list_add_format(arguments, "%u", command->port);
}
