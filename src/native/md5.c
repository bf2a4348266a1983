/* MD5 (RFC 1321) of eight messages side by side: one lane of a vector for each.

   One MD5 alone waits for each of its steps; eight of them cost little more than one. For
   catalogues' digests of files, against transmission errors: not for security. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#define LANES 8
#define BLOCK 64

typedef uint32_t Lanes __attribute__((vector_size(4 * LANES)));

typedef struct {
    Lanes a, b, c, d;
} Sums;

/* Binary integer part of abs(sin(i + 1)) * 2^32 (RFC 1321 section 3.4). */
static const uint32_t SINES[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

#define ROUND(f, word, turn, sine)                                                                 \
    {                                                                                              \
        Lanes sum = a + (f) + words[(word) & 15] + (sine);                                         \
        a = d, d = c, c = b;                                                                       \
        b += sum << (turn) | sum >> (32 - (turn));                                                 \
    }
#define FOUR(f, at, step, first, one, two, three, four)                                            \
    ROUND(f, (step) * (at) + (first), one, SINES[at])                                              \
    ROUND(f, (step) * ((at) + 1) + (first), two, SINES[(at) + 1])                                  \
    ROUND(f, (step) * ((at) + 2) + (first), three, SINES[(at) + 2])                                \
    ROUND(f, (step) * ((at) + 3) + (first), four, SINES[(at) + 3])
#define SIXTEEN(f, at, step, first, ...)                                                           \
    FOUR(f, at, step, first, __VA_ARGS__)                                                          \
    FOUR(f, (at) + 4, step, first, __VA_ARGS__)                                                    \
    FOUR(f, (at) + 8, step, first, __VA_ARGS__)                                                    \
    FOUR(f, (at) + 12, step, first, __VA_ARGS__)

/* The words of one block of each message, so that each vector holds the same word of all. */
#define GATHERED                                                                                   \
    for (int word = 0; word < 16; word++)                                                          \
        for (int lane = 0; lane < LANES; lane++) {                                                 \
            const uint8_t *four = at[lane] + block * BLOCK + 4 * word;                             \
            words[word][lane] = (uint32_t)four[0] | (uint32_t)four[1] << 8 |                       \
                                (uint32_t)four[2] << 16 | (uint32_t)four[3] << 24;                 \
        }

#define BLOCKS(name, attribute, gathered)                                                          \
    attribute static void name(Sums *sums, const uint8_t *const *at, size_t blocks) {              \
        Lanes a = sums->a, b = sums->b, c = sums->c, d = sums->d;                                  \
        for (size_t block = 0; block < blocks; block++) {                                          \
            Lanes words[16];                                                                       \
            Lanes old_a = a, old_b = b, old_c = c, old_d = d;                                      \
            gathered                                                                               \
            SIXTEEN(d ^ (b & (c ^ d)), 0, 1, 0, 7, 12, 17, 22)                                     \
            SIXTEEN(c ^ (d & (b ^ c)), 16, 5, 1, 5, 9, 14, 20)                                     \
            SIXTEEN(b ^ c ^ d, 32, 3, 5, 4, 11, 16, 23)                                            \
            SIXTEEN(c ^ (b | ~d), 48, 7, 0, 6, 10, 15, 21)                                         \
            a += old_a, b += old_b, c += old_c, d += old_d;                                        \
        }                                                                                          \
        sums->a = a, sums->b = b, sums->c = c, sums->d = d;                                        \
    }

BLOCKS(blocks_plain, , GATHERED)

#if SERIESIO_X86
#include <immintrin.h>

/* Eight words of each of eight messages, transposed. */
SERIESIO_AVX2 static inline void transposed(Lanes *words, const uint8_t *const *at, size_t offset) {
    __m256i rows[8], pairs[8], fours[8];
    for (int lane = 0; lane < 8; lane++)
        rows[lane] = _mm256_loadu_si256((const __m256i *)(at[lane] + offset));
    for (int pair = 0; pair < 4; pair++) {
        pairs[2 * pair] = _mm256_unpacklo_epi32(rows[2 * pair], rows[2 * pair + 1]);
        pairs[2 * pair + 1] = _mm256_unpackhi_epi32(rows[2 * pair], rows[2 * pair + 1]);
    }
    for (int half = 0; half < 8; half += 4) {
        fours[half] = _mm256_unpacklo_epi64(pairs[half], pairs[half + 2]);
        fours[half + 1] = _mm256_unpackhi_epi64(pairs[half], pairs[half + 2]);
        fours[half + 2] = _mm256_unpacklo_epi64(pairs[half + 1], pairs[half + 3]);
        fours[half + 3] = _mm256_unpackhi_epi64(pairs[half + 1], pairs[half + 3]);
    }
    for (int word = 0; word < 4; word++) {
        words[word] = (Lanes)_mm256_permute2x128_si256(fours[word], fours[word + 4], 0x20);
        words[word + 4] = (Lanes)_mm256_permute2x128_si256(fours[word], fours[word + 4], 0x31);
    }
}

#define TRANSPOSED                                                                                 \
    transposed(words, at, block * BLOCK);                                                          \
    transposed(words + 8, at, block * BLOCK + BLOCK / 2);

BLOCKS(blocks_avx2, SERIESIO_AVX2, TRANSPOSED)
#endif

/* A message: pieces one after the other, then the padding that RFC 1321 (3.1, 3.2) asks for. */
typedef struct {
    const Py_buffer *pieces;
    size_t count, piece, offset;
    uint64_t length;
    int marked, ended;
    uint8_t edge[BLOCK]; /* a block that does not lie in one piece */
} Message;

static const uint8_t *lying(const Message *message, size_t *blocks) {
    const Py_buffer *piece = message->pieces + message->piece;
    *blocks = ((size_t)piece->len - message->offset) / BLOCK;
    return (const uint8_t *)piece->buf + message->offset;
}

/* The next block, put together from what is left of the pieces, and padded at their end. */
static void put_together(Message *message) {
    size_t have = 0;
    while (have < BLOCK && message->piece < message->count) {
        const Py_buffer *piece = message->pieces + message->piece;
        size_t left = (size_t)piece->len - message->offset;
        size_t part = left < BLOCK - have ? left : BLOCK - have;
        if (part)
            memcpy(message->edge + have, (const uint8_t *)piece->buf + message->offset, part);
        have += part;
        message->offset += part;
        if (message->offset == (size_t)piece->len)
            message->piece++, message->offset = 0;
    }
    if (have == BLOCK)
        return;
    memset(message->edge + have, 0, BLOCK - have);
    if (!message->marked)
        message->edge[have++] = 0x80, message->marked = 1;
    if (have <= BLOCK - 8) {
        for (int byte = 0; byte < 8; byte++)
            message->edge[BLOCK - 8 + byte] = (uint8_t)(message->length << 3 >> 8 * byte);
        message->ended = 1;
    }
}

/* Where the next blocks of a message are, and how many of them lie there. */
static const uint8_t *next_blocks(Message *message, size_t *blocks) {
    if (message->piece < message->count) {
        const uint8_t *at = lying(message, blocks);
        if (*blocks)
            return at;
    }
    put_together(message);
    *blocks = 0;
    return message->edge;
}

static void advance(Message *message, size_t blocks) {
    message->offset += blocks * BLOCK;
    if (message->offset == (size_t)message->pieces[message->piece].len)
        message->piece++, message->offset = 0;
}

static void begin(Sums *sums, int lane) {
    sums->a[lane] = 0x67452301, sums->b[lane] = 0xefcdab89;
    sums->c[lane] = 0x98badcfe, sums->d[lane] = 0x10325476;
}

static void told(const Sums *sums, int lane, uint8_t *digest) {
    const uint32_t words[4] = {sums->a[lane], sums->b[lane], sums->c[lane], sums->d[lane]};
    for (int byte = 0; byte < 16; byte++)
        digest[byte] = (uint8_t)(words[byte / 4] >> 8 * (byte % 4));
}

static void digest_all(Message *messages, size_t count, uint8_t *digests) {
    void (*run)(Sums *, const uint8_t *const *, size_t) = blocks_plain;
    size_t of[LANES], taken = 0;
    int busy[LANES] = {0}, left;
    Sums sums;
    memset(&sums, 0, sizeof sums);
#if SERIESIO_X86
    if (SERIESIO_HAS("avx2"))
        run = blocks_avx2;
#endif
    for (;;) {
        const uint8_t *at[LANES];
        size_t here[LANES], most = 0;
        const uint8_t *spare = NULL;
        left = 0;
        for (int lane = 0; lane < LANES; lane++) {
            if (!busy[lane] && taken < count) {
                busy[lane] = 1, of[lane] = taken++;
                begin(&sums, lane);
            }
            if (!busy[lane])
                continue;
            spare = at[lane] = next_blocks(&messages[of[lane]], &here[lane]);
            size_t some = here[lane] ? here[lane] : 1;
            most = left++ && most < some ? most : some;
        }
        if (!left)
            return;
        for (int lane = 0; lane < LANES; lane++)
            if (!busy[lane])
                at[lane] = spare; /* an idle lane computes what nobody asks for */
        run(&sums, at, most);
        for (int lane = 0; lane < LANES; lane++) {
            if (!busy[lane])
                continue;
            Message *message = &messages[of[lane]];
            if (here[lane])
                advance(message, most);
            else if (message->ended) {
                told(&sums, lane, digests + 16 * of[lane]);
                busy[lane] = 0;
            }
        }
    }
}

/* --- from and to Python ------------------------------------------------------------------- */

typedef struct {
    Message *messages;
    Py_buffer *pieces;
    size_t count, held;
    uint64_t bytes;
} Work;

static void let_go(Work *work) {
    while (work->held)
        PyBuffer_Release(&work->pieces[--work->held]);
    free(work->pieces);
    free(work->messages);
}

/* How many pieces a list of tuples has in all; -1 with an error if it is none. */
static Py_ssize_t counted(PyObject *items) {
    Py_ssize_t pieces = 0;
    for (Py_ssize_t i = 0; i < PyTuple_Size(items); i++) {
        PyObject *item = PyTuple_GetItem(items, i);
        if (item == NULL || !PyTuple_Check(item)) {
            PyErr_SetString(PyExc_TypeError, "md5: a list of tuples of buffers");
            return -1;
        }
        pieces += PyTuple_Size(item);
    }
    return pieces;
}

static int held(Work *work, PyObject *item, Message *message) {
    message->pieces = work->pieces + work->held;
    message->count = (size_t)PyTuple_Size(item);
    for (size_t piece = 0; piece < message->count; piece++) {
        Py_buffer *buffer = &work->pieces[work->held];
        PyObject *object = PyTuple_GetItem(item, (Py_ssize_t)piece);
        if (object == NULL || PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0)
            return -1;
        work->held++;
        message->length += (uint64_t)buffer->len;
    }
    work->bytes += message->length;
    return 0;
}

static PyObject *listed(const uint8_t *digests, Py_ssize_t count) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *digest = PyBytes_FromStringAndSize((const char *)digests + 16 * i, 16);
        if (digest == NULL || PyList_SetItem(list, i, digest) < 0)
            Py_CLEAR(list);
    }
    return list;
}

PyObject *native_md5(PyObject *module, PyObject *args) {
    Work work = {NULL, NULL, 0, 0, 0};
    PyObject *items, *list = NULL;
    uint8_t *digests = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "O", &items))
        return NULL;
    /* A copy: nobody else can make it shorter meanwhile. */
    items = PySequence_Tuple(items);
    if (items == NULL)
        return NULL;
    Py_ssize_t count = PyTuple_Size(items), pieces = counted(items);
    if (pieces < 0)
        goto out;
    work.messages = calloc((size_t)count + 1, sizeof *work.messages);
    work.pieces = calloc((size_t)pieces + 1, sizeof *work.pieces);
    digests = calloc((size_t)count + 1, 16);
    if (!work.messages || !work.pieces || !digests) {
        PyErr_NoMemory();
        goto out;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (held(&work, PyTuple_GetItem(items, i), &work.messages[i]) < 0)
            goto out;
    PyThreadState *state = let_others((size_t)work.bytes);
    digest_all(work.messages, (size_t)count, digests);
    no_others(state);
    list = listed(digests, count);
out:
    let_go(&work);
    free(digests);
    Py_DECREF(items);
    return list;
}
