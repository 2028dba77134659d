/* kubernetes_end.h - what the end of an instance shares with other removals. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_END_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_END_H

struct backend;

/* An instance is gone, or its files are: whoever waits for its name may begin. */
void kubernetes_end_pass_name_on(struct backend *backend, const char *name);

#endif
