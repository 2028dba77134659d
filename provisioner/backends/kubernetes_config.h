/* kubernetes_config.h - where the API server is and who we are to it: a kubeconfig file, or what a pod finds in itself.
 *
 * TLS is always verified; `insecure-skip-tls-verify` is refused, and so are exec plugins, which would be programs run
 * with our rights. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CONFIG_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "common/error.h"

/* Where a pod finds its own credentials. */
#define KUBERNETES_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"

/* Bytes that libcurl takes as they are: PEM. `data` NULL: none. */
struct kubernetes_pem {
    char *data;
    size_t length;
};

struct kubernetes_config {
    char *server;      /* "https://host:port[/prefix]", without a slash at the end */
    char *server_name; /* what its certificate says instead of the host; NULL: the host */
    char *proxy_url;   /* NULL: none */
    char *ca_file;     /* of this and ca_data one at most; neither: the system's */
    struct kubernetes_pem ca;
    struct kubernetes_pem certificate; /* the client's */
    struct kubernetes_pem key;
    char *certificate_file;
    char *key_file;
    char *token_file; /* wins over `token`, which is then what it said last */
    char *token;      /* secret */
    struct stat token_status;
};

/* The current context of a kubeconfig file. Paths in it are relative to the file. False with *err (ERROR_INVALID), and
 * nothing to free. */
bool kubernetes_config_read(const char *path, struct kubernetes_config *out, struct error *err);

/* The same from its text; `folder` is the file's. For tests and fuzzing. */
bool kubernetes_config_parse(const char *text, size_t length, const char *folder, struct kubernetes_config *out,
                             struct error *err);

/* KUBERNETES_SERVICE_HOST and …_PORT (either may be NULL), and the files `token` and `ca.crt` of `folder`. */
bool kubernetes_config_in_cluster(const char *host, const char *port, const char *folder, struct kubernetes_config *out,
                                  struct error *err);

void kubernetes_config_free(struct kubernetes_config *config);

/* Reads the token file anew if it is another one than last time, as the kubelet replaces it. A file that cannot be read
 * leaves the old token; false with *err then. */
bool kubernetes_config_refresh_token(struct kubernetes_config *config, struct error *err);

#endif
