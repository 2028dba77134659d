#include "instance/options_table.h"

#define LONGEST_SECONDS 1e9
#define ONE_WEEK        "604800"
#define TEXT(member)    OPTION_TEXT, offsetof(struct options, member)

const struct option_row option_rows[OPTION_COUNT] = {
    [OPTION_HOST] = {"host", OPTION_FLAG | OPTION_ANYWHERE, TEXT(host), "0.0.0.0", 0, 0},
    [OPTION_PORT] = {"port", OPTION_FLAG | OPTION_ANYWHERE, OPTION_WHOLE, offsetof(struct options, port), "8000", 1,
                     65535},
    [OPTION_API_KEY] = {"api_key", OPTION_FLAG | OPTION_ANYWHERE, OPTION_SPECIAL, 0, NULL, 0, 0},
    [OPTION_CWD] = {"cwd", OPTION_FLAG, OPTION_SPECIAL, 0, NULL, 0, 0},
    [OPTION_CONFIG] = {"config", OPTION_FLAG, OPTION_SPECIAL, 0, NULL, 0, 0},
    [OPTION_CORS] = {"cors_allowed_origins", OPTION_FLAG | OPTION_ANYWHERE, TEXT(cors_allowed_origins), "*", 0, 0},
    [OPTION_TRANSPORT] = {"transport", OPTION_FLAG, OPTION_SPECIAL, 0, NULL, 0, 0},
    [OPTION_MULTI_USER] = {"multi_user", OPTION_VARIABLE, OPTION_SPECIAL, 0, NULL, 0, 0},
    [OPTION_LOG_DIR] = {"log_dir", OPTION_ANYWHERE, OPTION_SPECIAL, 0, NULL, 0, 0},
    [OPTION_LOG_FORMAT] = {"log_format", OPTION_ANYWHERE, OPTION_SPECIAL, 0, NULL, 0, 0},
    {"wait_fd", OPTION_FLAG, OPTION_WHOLE, offsetof(struct options, wait_fd), "0", 0, 1e6},
    {"term", OPTION_ANYWHERE, TEXT(term), "xterm-256color", 0, 0},
    {"info", OPTION_ANYWHERE, TEXT(info), NULL, 0, 0},
    {"system_prompt", OPTION_ANYWHERE, TEXT(system_prompt), NULL, 0, 0},
    {"execute_description", OPTION_ANYWHERE, TEXT(execute_description), NULL, 0, 0},
    {"binary_mime_prefixes", OPTION_ANYWHERE, TEXT(binary_mime_prefixes), "image", 0, 0},
    {"execute_timeout", OPTION_ANYWHERE, OPTION_NUMBER, offsetof(struct options, execute_timeout), "0", 0, 300},
    {"session_keepalive_seconds", OPTION_ANYWHERE, OPTION_NUMBER, offsetof(struct options, session_keepalive_seconds),
     "0", 0, LONGEST_SECONDS},
    {"session_cwd_ttl", OPTION_ANYWHERE, OPTION_NUMBER, offsetof(struct options, session_cwd_ttl), ONE_WEEK, 0,
     LONGEST_SECONDS},
    {"max_sessions", OPTION_ANYWHERE, OPTION_WHOLE, offsetof(struct options, max_sessions), "16", 1, 1024},
    {"max_log_size", OPTION_ANYWHERE, OPTION_WHOLE, offsetof(struct options, max_log_size), "52428800", 65536, 1e15},
    {"log_retention", OPTION_ANYWHERE, OPTION_NUMBER, offsetof(struct options, log_retention), ONE_WEEK, 0,
     LONGEST_SECONDS},
    {"enable_terminal", OPTION_ANYWHERE, OPTION_BOOLEAN, offsetof(struct options, is_terminal_enabled), "true", 0, 0},
    {"enable_notebooks", OPTION_ANYWHERE, OPTION_BOOLEAN, offsetof(struct options, is_notebooks_enabled), "true", 0, 0},
    {"enable_system_prompt", OPTION_ANYWHERE, OPTION_BOOLEAN, offsetof(struct options, is_system_prompt_enabled),
     "true", 0, 0},
    {"access_log", OPTION_ANYWHERE, OPTION_BOOLEAN, offsetof(struct options, is_access_logged), "false", 0, 0},
};
