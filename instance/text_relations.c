#include "instance/text_relations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 256

static void add_relation(struct relations *relations, const char *id, const char *name) {
    struct relation *larger = realloc(relations->list, (relations->count + 1) * sizeof(*larger));
    if (larger == NULL) {
        relations->failed = true;
        return;
    }
    relations->list = larger;
    larger[relations->count++] = (struct relation){strdup(id), name != NULL ? strdup(name) : NULL, NULL};
}

static void on_index_start(void *state, const char *name, const char **attributes) {
    struct relations *relations = state;
    const char *id = NULL;
    /* A slide has an `id` of its own before its `r:id`: the last one counts. */
    for (const char **attribute = attributes; *attribute != NULL; attribute += 2) {
        id = strcmp(attribute[0], "id") == 0 ? attribute[1] : id;
    }
    if (strcmp(name, relations->element) == 0 && id != NULL) {
        add_relation(relations, id, xml_attribute(attributes, "name"));
    }
}

static void on_relation_start(void *state, const char *name, const char **attributes) {
    const struct relations *relations = state;
    const char *id = xml_attribute(attributes, "Id");
    const char *target = xml_attribute(attributes, "Target");
    if (strcmp(name, "Relationship") != 0 || id == NULL || target == NULL) {
        return;
    }
    for (size_t i = 0; i < relations->count; i++) {
        struct relation *relation = &relations->list[i];
        if (relation->path == NULL && relation->id != NULL && strcmp(relation->id, id) == 0) {
            relation->path = package_resolve(relations->index, target);
        }
    }
}

bool relations_read(struct package *package, const char *index, const char *element, struct relations *relations) {
    static const struct xml_events index_events = {.start = on_index_start};
    static const struct xml_events relation_events = {.start = on_relation_start};
    char path[PATH_SIZE];
    const char *slash = strrchr(index, '/');
    int folder = slash != NULL ? (int)(slash - index) : 0;
    *relations = (struct relations){.element = element, .index = index};
    snprintf(path, sizeof(path), "%.*s/_rels/%s.rels", folder, index, slash != NULL ? slash + 1 : index);
    return package_parse(package, index, &index_events, relations) &&
           package_parse(package, path, &relation_events, relations) && !relations->failed;
}

void relations_free(struct relations *relations) {
    for (size_t i = 0; i < relations->count; i++) {
        free(relations->list[i].id);
        free(relations->list[i].name);
        free(relations->list[i].path);
    }
    free(relations->list);
}
