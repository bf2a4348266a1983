/* Element headers of many files against those of one (PS3.5 section 7.1), as dicom/lockstep.py
   does it with vectors: a match is exactly what a walk of its own would find. */
#include "native.h"

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
static int same(const Tokens *tokens, Py_ssize_t token, const uint8_t *at, int64_t *length) {
    const uint16_t *own = tokens->words + 4 * token;
    uint8_t kind = tokens->kinds[token];
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

/* True if all headers agree in a file but for lengths that may differ; what these are. */
static int agrees(const Tokens *tokens, const uint8_t *arena, int64_t base, int64_t end,
                  int64_t *lengths) {
    int64_t shift = base;
    for (Py_ssize_t token = 0; token < tokens->count; token++) {
        int64_t place, length;
        int64_t size = tokens->kinds[token] == LONG ? 12 : 8;
        if (!added(tokens->starts[token], shift, &place) || place < base || place > end - size ||
            !same(tokens, token, arena + place, &length))
            return 0;
        if (tokens->lengths[token] < -UNDEFINED)
            return 0;
        int64_t growth = length - tokens->lengths[token];
        if (growth && (tokens->fixed[token] || length == UNDEFINED ||
                       (tokens->even && growth & 1 && token + 1 < tokens->count)))
            return 0;
        lengths[token] = length;
        if (!added(shift, growth, &shift))
            return 0;
    }
    return 1;
}

/* (arena, bases, ends, starts, lengths, kinds, fixed, words, even, good, found) */
enum { ARENA, BASES, ENDS, STARTS, LENGTHS, KINDS, FIXED, WORDS, GOOD, FOUND, BUFFERS };

static int sizes_fit(const Py_buffer *all) {
    Py_ssize_t files = all[GOOD].len, tokens = all[KINDS].len;
    return all[BASES].len % 8 == 0 && all[BASES].len / 8 == files &&
           all[ENDS].len == all[BASES].len && all[STARTS].len % 8 == 0 &&
           all[STARTS].len / 8 == tokens &&
           all[LENGTHS].len == all[STARTS].len && all[FIXED].len == tokens &&
           all[WORDS].len % 8 == 0 && all[WORDS].len / 8 == tokens && all[FOUND].len % 8 == 0 &&
           (tokens == 0 || all[FOUND].len / 8 % tokens == 0) &&
           (tokens == 0 || all[FOUND].len / 8 / tokens == files);
}

static int lie_right(const Py_buffer *all) {
    uintptr_t wide = (uintptr_t)all[BASES].buf | (uintptr_t)all[ENDS].buf |
                     (uintptr_t)all[STARTS].buf | (uintptr_t)all[LENGTHS].buf |
                     (uintptr_t)all[FOUND].buf;
    return wide % sizeof(int64_t) == 0 && (uintptr_t)all[WORDS].buf % sizeof(uint16_t) == 0;
}

PyObject *native_lockstep(PyObject *module, PyObject *args) {
    Py_buffer all[BUFFERS];
    int even;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*pw*w*", &all[ARENA], &all[BASES], &all[ENDS],
                          &all[STARTS], &all[LENGTHS], &all[KINDS], &all[FIXED], &all[WORDS], &even,
                          &all[GOOD], &all[FOUND]))
        return NULL;
    int fit = sizes_fit(all) && lie_right(all);
    if (fit) {
        Tokens tokens = {all[STARTS].buf, all[LENGTHS].buf, all[KINDS].buf, all[FIXED].buf,
                         all[WORDS].buf,  all[KINDS].len,   even};
        const int64_t *bases = all[BASES].buf, *ends = all[ENDS].buf;
        uint8_t *good = all[GOOD].buf;
        PyThreadState *state = let_others((size_t)all[FOUND].len);
        for (Py_ssize_t file = 0; fit && file < all[GOOD].len; file++) {
            /* Read once: whoever writes to these tables meanwhile cannot lead out of the arena. */
            int64_t base = *(const volatile int64_t *)&bases[file];
            int64_t end = *(const volatile int64_t *)&ends[file];
            fit = base >= 0 && base <= end && end <= all[ARENA].len;
            good[file] = (uint8_t)(fit && agrees(&tokens, all[ARENA].buf, base, end,
                                         (int64_t *)all[FOUND].buf + file * tokens.count));
        }
        no_others(state);
    }
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        PyBuffer_Release(&all[buffer]);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError, "lockstep: buffers of other sizes than announced");
        return NULL;
    }
    Py_RETURN_NONE;
}
