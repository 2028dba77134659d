// LINK: provisioner
/* What a kubeconfig and an API server say: any bytes are refused with a reason, or become something that holds. The
 * first byte chooses which of the two they are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/backends/kubernetes_config.h"
#include "provisioner/backends/kubernetes_pod.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
    if (!truth) {
        abort();
    }
}

static void try_config(const char *text, size_t size) {
    struct kubernetes_config config;
    struct error err = {0};
    if (kubernetes_config_parse(text, size, "/nonexistent", &config, &err)) {
        require(strncmp(config.server, "https://", 8) == 0);
        require(config.token == NULL || strpbrk(config.token, "\r\n ") == NULL);
        require(config.token != NULL || config.certificate.data != NULL || config.certificate_file != NULL);
        kubernetes_config_free(&config);
    } else {
        require(err.code != ERROR_NONE && err.message[0] != '\0');
    }
}

static void try_pod(const char *text, size_t size) {
    struct json_object *json = json_parse_object(text, size, NULL);
    struct kubernetes_pod *pod = json == NULL ? NULL : kubernetes_pod_read(json);
    if (pod != NULL) {
        require(pod->state != KUBERNETES_POD_RUNNING || pod->address[0] != '\0');
        require(strpbrk(pod->address, "| \n") == NULL);
        kubernetes_pod_free(pod);
    }
    json_object_put(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] == '{') {
        try_pod((const char *)data, size);
    } else if (size > 0) {
        try_config((const char *)data + 1, size - 1);
    }
    return 0;
}
