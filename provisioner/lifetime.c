#include "provisioner/lifetime.h"

#include <stdlib.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/instance_command.h"
#include "provisioner/policies.h"
#include "provisioner/stops.h"

#define WARNING_TIMEOUT_MS 5000

/* Writes its $1 into every terminal on which an interactive shell runs. On `local` without a sandbox other instances'
 * processes are in sight: there only those count that carry this instance's mark in their environment. What runs in
 * /execute has a terminal too; its shell has `-c`. A terminal that takes no output (^S) must not keep the others
 * waiting. */
static const char warning_script[] =
    "seen=\n"
    "for process in /proc/[0-9]*; do\n"
    "  terminal=$(readlink \"$process/fd/0\" 2>/dev/null) || continue\n"
    "  case $terminal in /dev/pts/[0-9]*) ;; *) continue ;; esac\n"
    "  case \" $seen \" in *\" $terminal \"*) continue ;; esac\n"
    "  case $(cat \"$process/comm\" 2>/dev/null) in sh|bash|dash|ash|zsh|ksh|fish|busybox) ;; *) continue ;; esac\n"
    "  case $(tr '\\000' ' ' <\"$process/cmdline\" 2>/dev/null) in *' -c '*) continue ;; esac\n"
    "  if [ -n \"$TERMINALS_INSTANCE\" ]; then\n"
    "    tr '\\000' '\\n' <\"$process/environ\" 2>/dev/null | grep -qxF \"TERMINALS_INSTANCE=$TERMINALS_INSTANCE\" ||\n"
    "      continue\n"
    "  fi\n"
    "  seen=\"$seen $terminal\"\n"
    "  (printf '%s' \"$1\" >\"$terminal\") 2>/dev/null &\n"
    "done\n"
    "wait\n";

int64_t lifetime_end_ms(const struct tenant *tenant) {
    int64_t lifetime_ms = policies_lifetime_ms(tenant->provisioner, tenant->record.policy_id);
    return lifetime_ms == 0 || tenant->record.started_at_ms == 0 ? 0 : tenant->record.started_at_ms + lifetime_ms;
}

void lifetime_begin(struct tenant *tenant) {
    tenant->record.started_at_ms = clock_unix_ms();
    tenant->is_warned = false;
}

void lifetime_forget(struct tenant *tenant) {
    tenant->record.started_at_ms = 0;
    tenant->is_warned = false;
    instance_command_cancel(tenant->warning);
    tenant->warning = NULL;
}

static void on_warned(void *argument, int64_t exit_code, const char *failure) {
    struct tenant *tenant = argument;
    tenant->warning = NULL;
    if (failure != NULL || exit_code != 0) {
        log_warning(NULL, "instance %s: its shells could not be told of its end: %s", tenant->record.instance_name,
                    failure != NULL ? failure : "the command failed");
    }
}

static void warn(struct tenant *tenant, int64_t left_ms) {
    cleanup_buffer struct buffer script = {0};
    tenant->is_warned = true;
    if (!buffer_append_format(&script,
                              "set -- '\r\n*** This terminal ends in %lld seconds: it has run as long as it may. Files "
                              "in the home folder stay. ***\r\n'\n%s",
                              (long long)(left_ms + 999) / 1000, warning_script)) {
        log_warning(NULL, "instance %s: out of memory", tenant->record.instance_name);
        return;
    }
    instance_command_cancel(tenant->warning);
    tenant->warning = instance_command_start(tenant, script.data, WARNING_TIMEOUT_MS, on_warned, tenant);
}

static void on_stopped(void *argument, struct tenant *tenant, const struct error *err) {
    (void)argument;
    (void)tenant;
    if (err != NULL) {
        log_warning(NULL, "stop an instance at the end of its lifetime: %s", err->message);
    }
}

static void look_at(struct provisioner *provisioner, struct tenant *tenant, int64_t now_ms) {
    int64_t lifetime_ms = policies_lifetime_ms(provisioner, tenant->record.policy_id);
    int64_t left_ms = lifetime_end_ms(tenant) - now_ms;
    int64_t warning_ms = lifetime_ms / 2 < LIFETIME_WARNING_MS ? lifetime_ms / 2 : LIFETIME_WARNING_MS;
    if (left_ms <= 0) {
        log_info(NULL, "instance %s has run as long as its policy allows", tenant->record.instance_name);
        stops_want(provisioner, tenant, "lifetime_cleanup", NULL, on_stopped, NULL);
    } else if (left_ms <= warning_ms && !tenant->is_warned) {
        warn(tenant, left_ms);
    }
}

void lifetime_look(struct provisioner *provisioner) {
    int64_t now_ms = clock_unix_ms();
    if (provisioner->is_shutting_down) {
        return;
    }
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (tenant->record.status == INSTANCE_RUNNING && !tenant->is_being_adopted && !tenant->is_warm &&
            lifetime_end_ms(tenant) != 0) {
            look_at(provisioner, tenant, now_ms);
        }
    }
}
