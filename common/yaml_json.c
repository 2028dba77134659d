#include "common/yaml_json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct conversion {
    yaml_document_t *document;
    size_t nodes;
    int depth;
};

static bool refuse(struct error *err, const yaml_node_t *node, const char *what) {
    return error_set(err, ERROR_INVALID, "line %zu: %s", node->start_mark.line + 1, what);
}

/* --- scalars -------------------------------------------------------------------------------------------------------
 */

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

/* [-+]? [0-9]+, or 0o and 0x (YAML 1.2 §10.3.2). */
static bool parse_whole(const char *text, int64_t *value) {
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    int base = 10;
    if (text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        base = text[1] == 'o' ? 8 : 16;
        digits = text + 2;
    }
    static const char known[] = "0123456789abcdefABCDEF";
    size_t count = base == 16 ? sizeof known - 1 : (size_t)base;
    char allowed[sizeof known] = "";
    memcpy(allowed, known, count);
    if (*digits == '\0' || strspn(digits, allowed) != strlen(digits)) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    *value = strtoll(base == 10 ? text : digits, &end, base);
    return errno == 0 && *end == '\0';
}

static bool parse_fraction(const char *text, double *value) {
    char *end = NULL;
    if (strspn(text, "0123456789.eE+-") != strlen(text) || strpbrk(text, "0123456789") == NULL) {
        return false;
    }
    *value = strtod(text, &end);
    return *end == '\0' && isfinite(*value);
}

static bool convert_scalar(const yaml_node_t *node, struct json_object **value, struct error *err) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const truths[] = {"true", "True", "TRUE", NULL};
    static const char *const lies[] = {"false", "False", "FALSE", NULL};
    const char *text = (const char *)node->data.scalar.value;
    size_t length = node->data.scalar.length;
    int64_t whole = 0;
    double fraction = 0;
    *value = NULL;
    if (strlen(text) != length) {
        return refuse(err, node, "a text with a NUL");
    }
    bool is_plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (is_plain && is_one_of(text, nulls)) {
        return true;
    }
    if (is_plain && (is_one_of(text, truths) || is_one_of(text, lies))) {
        *value = json_object_new_boolean(is_one_of(text, truths));
    } else if (is_plain && parse_whole(text, &whole)) {
        *value = json_object_new_int64(whole);
    } else if (is_plain && parse_fraction(text, &fraction)) {
        *value = json_object_new_double(fraction);
    } else {
        *value = json_object_new_string_len(text, (int)length);
    }
    return *value != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* --- what holds others ---------------------------------------------------------------------------------------------
 */

static bool convert(struct conversion *conversion, int index, struct json_object **value, struct error *err);

static bool convert_sequence(struct conversion *conversion, const yaml_node_t *node, struct json_object *array,
                             struct error *err) {
    for (const yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        struct json_object *value = NULL;
        if (!convert(conversion, *item, &value, err)) {
            return false;
        }
        if (json_object_array_add(array, value) != 0) {
            json_object_put(value);
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    return true;
}

static bool convert_mapping(struct conversion *conversion, const yaml_node_t *node, struct json_object *object,
                            struct error *err) {
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(conversion->document, pair->key);
        struct json_object *value = NULL;
        if (key->type != YAML_SCALAR_NODE) {
            return refuse(err, key, "a key must be a text");
        }
        const char *name = (const char *)key->data.scalar.value;
        if (strlen(name) != key->data.scalar.length) {
            return refuse(err, key, "a key with a NUL");
        }
        if (strcmp(name, "<<") == 0) {
            return refuse(err, key, "`<<` is not supported: write the members out");
        }
        if (json_object_object_get_ex(object, name, NULL)) {
            return error_set(err, ERROR_INVALID, "line %zu: `%.100s` comes twice", key->start_mark.line + 1, name);
        }
        if (!convert(conversion, pair->value, &value, err)) {
            return false;
        }
        if (!json_add(object, name, value)) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    return true;
}

/* The tags that libyaml gives to what has none, by kind. */
static bool has_plain_tag(const yaml_node_t *node) {
    static const char *const tags[] = {YAML_STR_TAG, YAML_SEQ_TAG, YAML_MAP_TAG, NULL};
    return node->tag == NULL || is_one_of((const char *)node->tag, tags);
}

/* NULL as *value is JSON's null. */
static bool convert(struct conversion *conversion, int index, struct json_object **value, struct error *err) {
    const yaml_node_t *node = yaml_document_get_node(conversion->document, index);
    *value = NULL;
    if (++conversion->nodes > YAML_NODES_MAX) {
        return refuse(err, node, "the document is too large");
    }
    if (!has_plain_tag(node)) {
        return refuse(err, node, "tags (!…) are not supported");
    }
    if (node->type == YAML_SCALAR_NODE) {
        return convert_scalar(node, value, err);
    }
    /* An alias may also lead to itself. */
    if (conversion->depth >= YAML_DEPTH_MAX) {
        return refuse(err, node, "the document is nested too deeply");
    }
    bool is_sequence = node->type == YAML_SEQUENCE_NODE;
    struct json_object *container = is_sequence ? json_object_new_array() : json_object_new_object();
    conversion->depth++;
    bool ok = container == NULL ? error_set(err, ERROR_INTERNAL, "out of memory")
              : is_sequence     ? convert_sequence(conversion, node, container, err)
                                : convert_mapping(conversion, node, container, err);
    conversion->depth--;
    if (!ok) {
        json_object_put(container);
        return false;
    }
    *value = container;
    return true;
}

/* --- the document --------------------------------------------------------------------------------------------------
 */

static bool load(yaml_parser_t *parser, yaml_document_t *document, struct error *err) {
    if (yaml_parser_load(parser, document)) {
        return true;
    }
    if (parser->error == YAML_MEMORY_ERROR) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return error_set(err, ERROR_INVALID, "line %zu: %s", parser->problem_mark.line + 1,
                     parser->problem == NULL ? "this is no YAML" : parser->problem);
}

/* Whether the stream ends here. */
static bool is_last(yaml_parser_t *parser, struct error *err) {
    yaml_document_t next;
    if (!load(parser, &next, err)) {
        return false;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    bool ends = root == NULL || refuse(err, root, "a second document: write one into each file");
    yaml_document_delete(&next);
    return ends;
}

static struct json_object *read_document(yaml_parser_t *parser, struct error *err) {
    yaml_document_t document;
    if (!load(parser, &document, err)) {
        return NULL;
    }
    struct conversion conversion = {.document = &document};
    struct json_object *value = NULL;
    if (yaml_document_get_root_node(&document) == NULL) {
        value = json_object_new_object();
        if (value == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
    } else if (convert(&conversion, 1, &value, err)) {
        if (value == NULL) {
            error_set(err, ERROR_INVALID, "the document is null");
        } else if (!is_last(parser, err)) {
            json_object_put(value);
            value = NULL;
        }
    }
    yaml_document_delete(&document);
    return value;
}

struct json_object *yaml_to_json(const char *text, size_t length, struct error *err) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    struct json_object *value = read_document(&parser, err);
    yaml_parser_delete(&parser);
    return value;
}
