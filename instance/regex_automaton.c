#include "instance/regex_automaton.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/utf8.h"

#define REPLACEMENT_CHARACTER 0xFFFD
#define CLASSES_MAX           255
#define CELLS_MAX             (512 * 1024) /* of the table: 2 MiB */
#define PLACES_MAX            (256 * 1024) /* in the lists of all states */
#define CACHED_CHARACTERS     256          /* outside ASCII, whose class is remembered */

/* A state is the index of its row in the table, times the row's length. Two are none: */
enum { STATE_UNKNOWN = 0, STATE_MATCH = 1 }; /* in rows that are never entered */
#define FIRST_ROW     1
#define ROWS_AT_FIRST 32 /* a power of two */

/* A class is a kind of character that no set of the program, and no word's edge, tells apart. Two are none: */
enum { CLASS_LOOK = 0, CLASS_END = 1, CLASS_FIRST = 2 }; /* CLASS_LOOK: the byte alone does not say */

struct state {
    uint32_t places; /* where in automaton->places its list is */
    uint32_t place_count;
    uint32_t hash; /* of the list and the two below */
    bool is_start; /* no character of the text was taken yet */
    bool was_word; /* the last one was \w */
};

struct cached_class {
    uint32_t character;
    uint8_t class;
};

struct regex_automaton {
    const struct regex_program *program;
    struct regex_run run;
    enum regex_text kind;

    uint8_t class_of_byte[256];
    uint32_t examples[CLASSES_MAX]; /* of each class */
    size_t class_count;
    struct cached_class cache[CACHED_CHARACTERS];

    uint32_t *table; /* of states, a row each; a column for each class */
    size_t width;
    struct state *states; /* by row */
    size_t row_count;
    size_t row_max;
    struct buffer places;
    uint32_t *by_hash; /* rows, 0: free */
    size_t hash_size;  /* a power of two */
    uint32_t start;    /* the state before the first character */
};

/* ---- classes ---- */

static bool is_same_class(const struct regex_program *program, uint32_t a, uint32_t b) {
    size_t sets = program->sets.length / sizeof(struct regex_set);
    if (regex_is_word(a) != regex_is_word(b)) {
        return false;
    }
    for (uint32_t i = 0; i < sets; i++) {
        if (regex_set_takes(program, i, a) != regex_set_takes(program, i, b)) {
            return false;
        }
    }
    return true;
}

/* CLASS_LOOK: there are too many classes already. */
static uint8_t class_of(struct regex_automaton *automaton, uint32_t c) {
    for (size_t i = CLASS_FIRST; i < automaton->class_count; i++) {
        if (is_same_class(automaton->program, automaton->examples[i], c)) {
            return (uint8_t)i;
        }
    }
    if (automaton->class_count == automaton->width) {
        return CLASS_LOOK;
    }
    automaton->examples[automaton->class_count] = c;
    return (uint8_t)automaton->class_count++;
}

static uint8_t cached_class_of(struct regex_automaton *automaton, uint32_t c) {
    struct cached_class *cached = &automaton->cache[c % CACHED_CHARACTERS];
    if (cached->character != c) {
        *cached = (struct cached_class){c, class_of(automaton, c)};
    }
    return cached->class;
}

static void classify_bytes(struct regex_automaton *automaton) {
    automaton->class_count = CLASS_FIRST;
    automaton->width = CLASSES_MAX;
    for (uint32_t byte = 0; byte < 0x80; byte++) {
        automaton->class_of_byte[byte] = class_of(automaton, byte);
    }
    if (automaton->kind == REGEX_TEXT_LINES) {
        automaton->class_of_byte['\n'] = CLASS_END;
        automaton->class_of_byte['\r'] = CLASS_LOOK;
    }
    /* Room for what the characters outside ASCII are, and no more: the rows are long enough. */
    automaton->width = automaton->class_count + 32 < CLASSES_MAX ? automaton->class_count + 32 : CLASSES_MAX;
}

/* ---- states ---- */

static uint32_t hash_of(const uint32_t *list, size_t count, bool is_start, bool was_word) {
    uint32_t hash = 2166136261U ^ (uint32_t)(is_start + 2 * was_word);
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ list[i]) * 16777619U;
    }
    return hash ^ hash >> 15;
}

static const uint32_t *places_of(const struct regex_automaton *automaton, const struct state *state) {
    return (const uint32_t *)(const void *)automaton->places.data + state->places;
}

/* The state for what run->led holds. 0: no memory. */
static uint32_t find_state(struct regex_automaton *automaton, bool is_start, bool was_word) {
    const struct regex_run *run = &automaton->run;
    size_t bytes = run->led_count * sizeof(uint32_t);
    uint32_t hash = hash_of(run->led, run->led_count, is_start, was_word);
    size_t slot = hash & (automaton->hash_size - 1);
    uint32_t row;
    for (; (row = automaton->by_hash[slot]) != 0; slot = (slot + 1) & (automaton->hash_size - 1)) {
        const struct state *state = &automaton->states[row];
        if (state->place_count == run->led_count && state->is_start == is_start && state->was_word == was_word &&
            (bytes == 0 || memcmp(places_of(automaton, state), run->led, bytes) == 0)) {
            return row * (uint32_t)automaton->width;
        }
    }
    row = (uint32_t)automaton->row_count;
    automaton->states[row] = (struct state){(uint32_t)(automaton->places.length / sizeof(uint32_t)),
                                            (uint32_t)run->led_count, hash, is_start, was_word};
    if (!buffer_append(&automaton->places, run->led, bytes)) {
        return 0;
    }
    automaton->row_count++;
    automaton->by_hash[slot] = row;
    return row * (uint32_t)automaton->width;
}

/* False: no memory. */
static bool make_start(struct regex_automaton *automaton) {
    automaton->run.led_count = 0;
    automaton->start = find_state(automaton, true, false);
    return automaton->start != 0;
}

/* There is a free slot: by_hash has two for each row. */
static void note_by_hash(struct regex_automaton *automaton, uint32_t row) {
    size_t slot = automaton->states[row].hash & (automaton->hash_size - 1);
    while (automaton->by_hash[slot] != 0) {
        slot = (slot + 1) & (automaton->hash_size - 1);
    }
    automaton->by_hash[slot] = row;
}

/* Most patterns need a few dozen states: there is room for so many at first, and twice as many each time. False: no
 * memory. */
static bool grow(struct regex_automaton *automaton) {
    size_t row_max = automaton->row_max * 2;
    size_t cells = automaton->width * automaton->row_max;
    uint32_t *table = realloc(automaton->table, 2 * cells * sizeof(uint32_t));
    automaton->table = table != NULL ? table : automaton->table;
    struct state *states = realloc(automaton->states, row_max * sizeof(struct state));
    automaton->states = states != NULL ? states : automaton->states;
    uint32_t *by_hash = calloc(2 * row_max, sizeof(uint32_t));
    if (table == NULL || states == NULL || by_hash == NULL) {
        free(by_hash);
        return false;
    }
    memset(table + cells, 0, cells * sizeof(uint32_t));
    free(automaton->by_hash);
    automaton->by_hash = by_hash;
    automaton->hash_size = 2 * row_max;
    automaton->row_max = row_max;
    for (uint32_t row = FIRST_ROW; row < automaton->row_count; row++) {
        note_by_hash(automaton, row);
    }
    return true;
}

/* Makes room when it is full. Leaves run->waiting as it is. False: no memory. */
static bool make_room(struct regex_automaton *automaton, bool *is_forgotten) {
    bool is_full = automaton->row_count == automaton->row_max;
    *is_forgotten = automaton->places.length > PLACES_MAX * sizeof(uint32_t) ||
                    (is_full && automaton->width * automaton->row_max * 2 > CELLS_MAX);
    if (!*is_forgotten) {
        return !is_full || grow(automaton);
    }
    memset(automaton->table, 0, automaton->width * automaton->row_max * sizeof(uint32_t));
    memset(automaton->by_hash, 0, automaton->hash_size * sizeof(uint32_t));
    automaton->row_count = FIRST_ROW;
    automaton->places.length = 0;
    return make_start(automaton);
}

/* Works out where a state leads with a character (c of no meaning at the end), and notes it in the table. 0: no memory.
 */
static uint32_t step(struct regex_automaton *automaton, uint32_t from, uint8_t class, uint32_t c) {
    struct regex_run *run = &automaton->run;
    const struct state state = automaton->states[from / automaton->width];
    bool is_end = class == CLASS_END;
    bool is_word = !is_end && regex_is_word(c);
    struct regex_position position = {state.is_start, is_end, is_word != state.was_word};
    if (state.place_count > 0) {
        memcpy(run->led, places_of(automaton, &state), state.place_count * sizeof(uint32_t));
    }
    run->led_count = state.place_count;
    uint32_t to = STATE_MATCH;
    if (!regex_run_reach(run, &position)) {
        bool is_forgotten;
        if (!make_room(automaton, &is_forgotten)) {
            return 0;
        }
        if (!is_end) {
            regex_run_take(run, c);
        }
        to = is_end ? automaton->start : find_state(automaton, false, is_word);
        if (is_forgotten || class == CLASS_LOOK) {
            return to; /* the row that it would be noted in is gone, or is not this character's alone */
        }
    }
    if (to != 0 && class != CLASS_LOOK) {
        automaton->table[from + class] = to;
    }
    return to;
}

/* ---- running ---- */

struct cursor {
    const char *at;
    const char *end;
    uint32_t state;
};

/* Takes the character at the cursor, whose byte alone did not say where it leads. */
static void take_slowly(struct regex_automaton *automaton, struct cursor *cursor) {
    size_t left = (size_t)(cursor->end - cursor->at);
    uint32_t c = (unsigned char)*cursor->at;
    uint8_t class = automaton->class_of_byte[c];
    size_t size = 1;
    if (c == '\r' && automaton->kind == REGEX_TEXT_LINES) {
        if (left == 1 || cursor->at[1] == '\n') {
            cursor->at++; /* part of the line's end */
            return;
        }
        class = cached_class_of(automaton, c);
    } else if (c >= 0x80) {
        c = REPLACEMENT_CHARACTER;
        size = utf8_decode(cursor->at, left, &c);
        size = size > 0 ? size : 1;
        class = cached_class_of(automaton, c);
    }
    uint32_t next = class == CLASS_LOOK ? STATE_UNKNOWN : automaton->table[cursor->state + class];
    cursor->state = next != STATE_UNKNOWN ? next : step(automaton, cursor->state, class, c);
    cursor->at += cursor->state > STATE_MATCH ? size : 0;
}

const char *regex_automaton_search(struct regex_automaton *automaton, const char *text, size_t length, bool *failed) {
    struct cursor cursor = {text, text + length, automaton->start};
    const uint8_t *class_of_byte = automaton->class_of_byte;
    while (cursor.at < cursor.end) {
        const uint32_t *table = automaton->table;
        const char *at = cursor.at;
        uint32_t state = cursor.state;
        uint32_t next = STATE_MATCH + 1;
        while (at < cursor.end && (next = table[state + class_of_byte[(unsigned char)*at]]) > STATE_MATCH) {
            state = next;
            at++;
        }
        cursor.at = at;
        cursor.state = state;
        if (at == cursor.end) {
            break;
        }
        cursor.state = next == STATE_MATCH ? STATE_MATCH : state;
        if (next == STATE_UNKNOWN) {
            take_slowly(automaton, &cursor);
        }
        if (cursor.state <= STATE_MATCH) {
            *failed = *failed || cursor.state == STATE_UNKNOWN;
            return cursor.at;
        }
    }
    bool is_ended = length > 0 && automaton->kind == REGEX_TEXT_LINES && text[length - 1] == '\n';
    if (is_ended) {
        return NULL;
    }
    uint32_t next = automaton->table[cursor.state + CLASS_END];
    next = next != STATE_UNKNOWN ? next : step(automaton, cursor.state, CLASS_END, 0);
    *failed = *failed || next == STATE_UNKNOWN;
    return next <= STATE_MATCH ? cursor.end : NULL;
}

/* ---- its life ---- */

struct regex_automaton *regex_automaton_new(const struct regex_program *program, enum regex_text kind) {
    struct regex_automaton *automaton = calloc(1, sizeof(*automaton));
    if (automaton == NULL) {
        return NULL;
    }
    automaton->program = program;
    automaton->kind = kind;
    classify_bytes(automaton);
    automaton->row_max = ROWS_AT_FIRST;
    automaton->hash_size = 2 * ROWS_AT_FIRST;
    automaton->table = calloc(automaton->width * automaton->row_max, sizeof(uint32_t));
    automaton->states = calloc(automaton->row_max, sizeof(struct state));
    automaton->by_hash = calloc(automaton->hash_size, sizeof(uint32_t));
    automaton->row_count = FIRST_ROW;
    if (!regex_run_prepare(&automaton->run, program) || automaton->table == NULL || automaton->states == NULL ||
        automaton->by_hash == NULL || !make_start(automaton)) {
        regex_automaton_free(automaton);
        return NULL;
    }
    return automaton;
}

void regex_automaton_free(struct regex_automaton *automaton) {
    if (automaton != NULL) {
        regex_run_free(&automaton->run);
        free(automaton->table);
        free(automaton->states);
        free(automaton->by_hash);
        buffer_free(&automaton->places);
        free(automaton);
    }
}
