#include "common/secret.h"

#include <stdlib.h>
#include <string.h>

bool secret_equals(const char *a, const char *b) {
    if (a == NULL || b == NULL) {
        return false;
    }
    size_t length = strlen(a);
    if (strlen(b) != length) {
        return false;
    }
    /* volatile: the compiler must not leave the loop at the first difference. */
    volatile unsigned char difference = 0;
    for (size_t i = 0; i < length; i++) {
        difference = (unsigned char)(difference | ((unsigned char)a[i] ^ (unsigned char)b[i]));
    }
    return difference == 0;
}

void secret_free(char *secret) {
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}
