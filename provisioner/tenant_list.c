#include "provisioner/tenant_list.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/tenants.h"

/* One that matches: what it is sorted by, where a comparison finds it at once, and its place in order of creation, by
 * which no two are equal. */
struct entry {
    struct tenant *tenant;
    const char *text; /* NULL: sorted by number */
    int64_t number;
    size_t position;
};

/* Only ASCII letters have a case here. */
static unsigned char lower(char letter) {
    return (unsigned char)(letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter);
}

/* Is `wanted` somewhere in `text`? (strcasestr(), which asks the locale about each letter, takes ten times as long.) */
static bool contains(const char *text, const char *wanted) {
    unsigned char first = lower(wanted[0]);
    for (; *text != '\0' && first != '\0'; text++) {
        size_t same = lower(*text) == first;
        while (same > 0 && wanted[same] != '\0' && lower(text[same]) == lower(wanted[same])) {
            same++;
        }
        if (same > 0 && wanted[same] == '\0') {
            return true;
        }
    }
    return first == '\0';
}

static bool is_named(const struct tenant_record *record, const char *text) {
    return contains(record->user_id, text) || contains(record->policy_id, text) || contains(record->context_id, text);
}

static bool matches(const struct tenant *tenant, const struct tenant_filter *filter) {
    return !tenant->is_warm && (filter->any_status || tenant->record.status == filter->status) &&
           (filter->policy_id == NULL || strcmp(tenant->record.policy_id, filter->policy_id) == 0) &&
           (filter->user_id == NULL || strcmp(tenant->record.user_id, filter->user_id) == 0) &&
           (filter->text == NULL || is_named(&tenant->record, filter->text));
}

static struct entry make_entry(struct tenant *tenant, enum tenant_sort sort, size_t position) {
    const struct tenant_record *record = &tenant->record;
    struct entry entry = {.tenant = tenant, .position = position};
    switch (sort) {
    case TENANT_SORT_USER:
        entry.text = record->user_id;
        break;
    case TENANT_SORT_POLICY:
        entry.text = record->policy_id;
        break;
    case TENANT_SORT_STATUS:
        entry.text = instance_state_name(record->status);
        break;
    case TENANT_SORT_CREATED:
        entry.number = record->created_at_ms;
        break;
    case TENANT_SORT_ACCESSED:
        entry.number = record->last_accessed_at_ms;
        break;
    case TENANT_SORT_NONE:
        break;
    }
    return entry;
}

static int compare(const struct entry *left, const struct entry *right, bool is_descending) {
    int order = left->text != NULL ? strcmp(left->text, right->text)
                                   : (left->number > right->number) - (left->number < right->number);
    if (order == 0) {
        return left->position < right->position ? -1 : left->position > right->position;
    }
    return is_descending ? -order : order;
}

static int compare_ascending(const void *a, const void *b) {
    return compare(a, b, false);
}

static int compare_descending(const void *a, const void *b) {
    return compare(a, b, true);
}

static void swap(struct entry *a, struct entry *b) {
    struct entry kept = *a;
    *a = *b;
    *b = kept;
}

/* Moves the `wanted` least of them to the front, in no order (Hoare's selection). The pivot is anywhere, so that no
 * choice of names makes it slow; the numbers need not be good. */
static void select_least(struct entry *entries, size_t count, size_t wanted, bool is_descending) {
    uint32_t random = 1;
    while (wanted > 0 && wanted < count) {
        random = random * 1664525U + 1013904223U;
        swap(&entries[random % (uint32_t)count], &entries[count - 1]);
        size_t below = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            if (compare(&entries[i], &entries[count - 1], is_descending) < 0) {
                swap(&entries[i], &entries[below++]);
            }
        }
        swap(&entries[below], &entries[count - 1]);
        if (wanted <= below) {
            count = below;
        } else {
            entries += below + 1;
            count -= below + 1;
            wanted -= below + 1;
        }
    }
}

/* All that match, in order of creation. NULL: no memory. */
static struct entry *collect(struct provisioner *provisioner, const struct tenant_filter *filter, size_t *count) {
    struct entry *entries = calloc(HASH_CNT(by_route, provisioner->tenants_by_route) + 1, sizeof *entries);
    *count = 0;
    if (entries == NULL) {
        return NULL;
    }
    TENANTS_EACH(provisioner, tenant) {
        if (matches(tenant, filter)) {
            entries[*count] = make_entry(tenant, filter->sort, *count);
            ++*count;
        }
    }
    return entries;
}

struct json_object *tenant_list_page(struct provisioner *provisioner, const struct tenant_filter *filter,
                                     int64_t *total) {
    size_t count = 0;
    cleanup_free struct entry *entries = collect(provisioner, filter, &count);
    cleanup_json struct json_object *list = json_object_new_array();
    if (entries == NULL || list == NULL) {
        return NULL;
    }
    *total = (int64_t)count;
    size_t begin = filter->offset < *total ? (size_t)filter->offset : count;
    size_t end = filter->limit < (int64_t)(count - begin) ? begin + (size_t)filter->limit : count;
    if (filter->sort != TENANT_SORT_NONE) {
        select_least(entries, count, begin, filter->is_descending);
        select_least(entries + begin, count - begin, end - begin, filter->is_descending);
        qsort(entries + begin, end - begin, sizeof *entries,
              filter->is_descending ? compare_descending : compare_ascending);
    }
    for (size_t i = begin; i < end; i++) {
        struct json_object *object = tenant_to_json(entries[i].tenant);
        if (object == NULL || json_object_array_add(list, object) < 0) {
            json_object_put(object);
            return NULL;
        }
    }
    return steal_pointer(&list);
}
