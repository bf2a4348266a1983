/* Element headers of many files against those of one (PS3.5 section 7.1), as dicom/lockstep.py
   does it with vectors: a match is exactly what a walk of its own would find. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#define SHORT 0 /* Kind in dicom/raw.py: where a header keeps its length */
#define LONG 1
#define UNDEFINED 0xffffffffLL

typedef struct {
    const int64_t *starts, *lengths;
    const uint8_t *kinds, *fixed;
    const uint16_t *words; /* four of each token: tag, VR, and what follows */
    Py_ssize_t count;
    int even;
} Tokens;

static uint16_t word(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

static int64_t long_word(const uint8_t *at) {
    return (int64_t)word(at) | (int64_t)word(at + 2) << 16;
}

/* True if the header at a place is that of a token; the length that stands in it. */
static int same(const uint16_t *own, uint8_t kind, const uint8_t *at, int64_t *length) {
    if (word(at) != own[0] || word(at + 2) != own[1])
        return 0;
    if (kind != SHORT && kind != LONG) { /* a length and no VR */
        *length = long_word(at + 4);
        return 1;
    }
    if (word(at + 4) != own[2] || (kind == LONG && word(at + 6) != own[3]))
        return 0;
    *length = kind == LONG ? long_word(at + 8) : (int64_t)word(at + 6);
    return 1;
}

/* The sum; 0: it has more than 64 bits. */
static int added(int64_t a, int64_t b, int64_t *sum) {
    if (b < 0 ? a < INT64_MIN - b : a > INT64_MAX - b)
        return 0;
    *sum = a + b;
    return 1;
}

/* True if all headers agree in a file but for lengths that may differ; what these are, and where
   the headers are in the file. */
static int agrees(const Tokens *tokens, const uint8_t *arena, int64_t base, int64_t end,
                  int64_t *places, int64_t *lengths) {
    int64_t shift = base;
    for (Py_ssize_t token = 0; token < tokens->count; token++) {
        int64_t place, length;
        /* Read once, as bases and ends. */
        uint8_t kind = *(const volatile uint8_t *)&tokens->kinds[token];
        int64_t known = *(const volatile int64_t *)&tokens->lengths[token];
        int64_t size = kind == LONG ? 12 : 8;
        if (!added(tokens->starts[token], shift, &place) || place < base || place > end - size ||
            !same(tokens->words + 4 * token, kind, arena + place, &length))
            return 0;
        if (known < -UNDEFINED)
            return 0;
        int64_t growth = length - known;
        if (growth && (tokens->fixed[token] || length == UNDEFINED ||
                       (tokens->even && growth & 1 && token + 1 < tokens->count)))
            return 0;
        places[token] = place - base;
        lengths[token] = length;
        if (!added(shift, growth, &shift))
            return 0;
    }
    return 1;
}

/* The top-level elements among the headers of a file, in three tables. */
typedef struct {
    const int64_t *top, *after; /* the header of each, and the one behind its value */
    int64_t *starts, *offsets, *lengths;
    Py_ssize_t count;
} Elements;

static void put(const Elements *elements, const Tokens *tokens, Py_ssize_t file,
                const int64_t *places, const int64_t *lengths) {
    for (Py_ssize_t i = 0; i < elements->count; i++) {
        Py_ssize_t at = file * elements->count + i;
        int64_t token = elements->top[i], after = elements->after[i];
        int64_t offset = places[token] + (tokens->kinds[token] == LONG ? 12 : 8);
        elements->starts[at] = places[token];
        elements->offsets[at] = offset;
        elements->lengths[at] = tokens->lengths[token] != UNDEFINED ? lengths[token]
                                : after == tokens->count            ? -1
                                                                    : places[after] - offset;
    }
}

/* (arena, bases, ends, starts, lengths, kinds, fixed, words, top, after, even, good, and the
   starts, offsets and lengths of the elements of each file) */
enum {
    ARENA,
    BASES,
    ENDS,
    STARTS,
    LENGTHS,
    KINDS,
    FIXED,
    WORDS,
    TOP,
    AFTER,
    GOOD,
    FOUND_STARTS,
    FOUND_OFFSETS,
    FOUND_LENGTHS,
    BUFFERS
};

static int table_fits(const Py_buffer *table, Py_ssize_t files, Py_ssize_t elements) {
    return table->len % 8 == 0 && (elements == 0 ? table->len == 0
                                                 : table->len / 8 % elements == 0 &&
                                                       table->len / 8 / elements == files);
}

static int sizes_fit(const Py_buffer *all) {
    Py_ssize_t files = all[GOOD].len, tokens = all[KINDS].len, elements = all[TOP].len / 8;
    return all[BASES].len % 8 == 0 && all[BASES].len / 8 == files &&
           all[ENDS].len == all[BASES].len && all[STARTS].len % 8 == 0 &&
           all[STARTS].len / 8 == tokens && all[LENGTHS].len == all[STARTS].len &&
           all[FIXED].len == tokens && all[WORDS].len % 8 == 0 && all[WORDS].len / 8 == tokens &&
           all[TOP].len % 8 == 0 && all[AFTER].len == all[TOP].len &&
           table_fits(&all[FOUND_STARTS], files, elements) &&
           table_fits(&all[FOUND_OFFSETS], files, elements) &&
           table_fits(&all[FOUND_LENGTHS], files, elements);
}

static int lie_right(const Py_buffer *all) {
    uintptr_t wide = 0;
    const int tables[] = {BASES, ENDS,         STARTS,        LENGTHS,       TOP,
                          AFTER, FOUND_STARTS, FOUND_OFFSETS, FOUND_LENGTHS};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        wide |= (uintptr_t)all[tables[i]].buf;
    return wide % sizeof(int64_t) == 0 && (uintptr_t)all[WORDS].buf % sizeof(uint16_t) == 0;
}

/* A copy of the tables that lead to others, once they are sure to lead to no place outside. */
static int64_t *led(const Py_buffer *all) {
    Py_ssize_t tokens = all[KINDS].len, elements = all[TOP].len / 8;
    int64_t *copy = malloc((size_t)(all[TOP].len + all[AFTER].len) + 1);
    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(copy, all[TOP].buf, (size_t)all[TOP].len);
    memcpy(copy + elements, all[AFTER].buf, (size_t)all[AFTER].len);
    for (Py_ssize_t i = 0; i < elements; i++)
        if (copy[i] < 0 || copy[i] >= tokens || copy[elements + i] < 0 ||
            copy[elements + i] > tokens) {
            free(copy);
            PyErr_SetString(PyExc_ValueError, "lockstep: elements without a token");
            return NULL;
        }
    return copy;
}

/* 0: a file is not in the arena. */
static int compared(const Py_buffer *all, int even, const int64_t *top, int64_t *scratch) {
    Tokens tokens = {all[STARTS].buf, all[LENGTHS].buf, all[KINDS].buf, all[FIXED].buf,
                     all[WORDS].buf,  all[KINDS].len,   even};
    Py_ssize_t count = all[TOP].len / 8;
    Elements elements = {top,
                         top + count,
                         all[FOUND_STARTS].buf,
                         all[FOUND_OFFSETS].buf,
                         all[FOUND_LENGTHS].buf,
                         count};
    const int64_t *bases = all[BASES].buf, *ends = all[ENDS].buf;
    int64_t *places = scratch, *lengths = scratch + tokens.count;
    uint8_t *good = all[GOOD].buf;
    for (Py_ssize_t file = 0; file < all[GOOD].len; file++) {
        /* Read once: whoever writes to these tables meanwhile cannot lead out of the arena. */
        int64_t base = *(const volatile int64_t *)&bases[file];
        int64_t end = *(const volatile int64_t *)&ends[file];
        if (base < 0 || base > end || end > all[ARENA].len)
            return 0;
        int agreed = agrees(&tokens, all[ARENA].buf, base, end, places, lengths);
        if (agreed)
            put(&elements, &tokens, file, places, lengths);
        good[file] = (uint8_t)agreed;
    }
    return 1;
}

PyObject *native_lockstep(PyObject *module, PyObject *args) {
    Py_buffer all[BUFFERS];
    int even, fit;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*y*pw*w*w*w*", &all[ARENA], &all[BASES],
                          &all[ENDS], &all[STARTS], &all[LENGTHS], &all[KINDS], &all[FIXED],
                          &all[WORDS], &all[TOP], &all[AFTER], &even, &all[GOOD],
                          &all[FOUND_STARTS], &all[FOUND_OFFSETS], &all[FOUND_LENGTHS]))
        return NULL;
    fit = sizes_fit(all) && lie_right(all);
    if (!fit)
        PyErr_SetString(PyExc_ValueError, "lockstep: buffers of other sizes than announced");
    int64_t *top = fit ? led(all) : NULL;
    int64_t *scratch = top ? malloc(2 * sizeof(int64_t) * ((size_t)all[KINDS].len + 1)) : NULL;
    if (scratch != NULL) {
        PyThreadState *state = let_others((size_t)all[BASES].len * (size_t)all[KINDS].len);
        fit = compared(all, even, top, scratch);
        no_others(state);
        if (!fit)
            PyErr_SetString(PyExc_ValueError, "lockstep: files outside of the arena");
    } else if (top != NULL)
        PyErr_NoMemory();
    free(scratch);
    free(top);
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        PyBuffer_Release(&all[buffer]);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}
