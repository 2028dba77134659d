#include "provisioner/backends/waiting_checks.h"

#include <stdlib.h>

struct waiting_check {
    void (*checked)(void *argument, bool alive);
    void *argument;
    struct waiting_check *next;
};

bool waiting_checks_add(struct waiting_check **list, void (*checked)(void *argument, bool alive), void *argument) {
    struct waiting_check *check = malloc(sizeof *check);
    if (check == NULL) {
        return false;
    }
    *check = (struct waiting_check){checked, argument, *list};
    *list = check;
    return true;
}

void waiting_checks_answer(struct waiting_check **list, bool alive) {
    struct waiting_check *checks = *list;
    *list = NULL;
    while (checks != NULL) {
        struct waiting_check *check = checks;
        checks = check->next;
        check->checked(check->argument, alive);
        free(check);
    }
}

void waiting_checks_drop(struct waiting_check **list) {
    while (*list != NULL) {
        struct waiting_check *check = *list;
        *list = check->next;
        free(check);
    }
}
