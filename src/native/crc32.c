/* CRC-32 by carry-less multiplication: V. Gopal et al., "Fast CRC Computation for Generic
   Polynomials Using PCLMULQDQ Instruction", Intel 2009; constants of its section on the
   bit-reflected polynomial of gzip and zip (over n bits: x^(n+32) and x^(n-32) modulo the
   polynomial, bits reversed, times 2). */
#include "native.h"

#if SERIESIO_X86
#include <immintrin.h>

#define TARGET __attribute__((target("pclmul,sse4.1")))
#define WIDE __attribute__((target("avx512f,vpclmulqdq,pclmul,sse4.1")))
#define BLOCK 64
#define LONG 256

static const uint64_t K2048[2] = {0x011542778a, 0x01322d1430};
static const uint64_t K12[2] = {0x0154442bd4, 0x01c6e41596}; /* over 512 bits */
static const uint64_t K34[2] = {0x01751997d0, 0x00ccaa009e}; /* over 128 bits */
static const uint64_t K5[2] = {0x0163cd6124, 0};             /* over 64 bits */
static const uint64_t POLY[2] = {0x01db710641, 0x01f7011641}; /* and mu, for Barrett */

static __m128i load(const void *at) { return _mm_loadu_si128((const __m128i *)at); }

TARGET static __m128i folded(__m128i sum, __m128i by, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(sum, by, 0x00);
    __m128i high = _mm_clmulepi64_si128(sum, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

WIDE static __m512i wide_by(const uint64_t by[2]) {
    return _mm512_broadcast_i32x4(load(by));
}

WIDE static __m512i wide_folded(__m512i sum, __m512i by, __m512i next) {
    __m512i low = _mm512_clmulepi64_epi128(sum, by, 0x00);
    __m512i high = _mm512_clmulepi64_epi128(sum, by, 0x11);
    return _mm512_xor_si512(_mm512_xor_si512(low, high), next);
}

/* The same as sums over 512 bits, after blocks of 256 bytes, at least one. */
WIDE static void wide_summed(const uint8_t *at, size_t count, uint32_t crc, __m128i into[4]) {
    __m512i by = wide_by(K2048), sums[4];
    for (int part = 0; part < 4; part++)
        sums[part] = _mm512_loadu_si512(at + BLOCK * part);
    sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    for (at += LONG, count -= LONG; count >= LONG; at += LONG, count -= LONG)
        for (int part = 0; part < 4; part++)
            sums[part] = wide_folded(sums[part], by, _mm512_loadu_si512(at + BLOCK * part));
    by = wide_by(K12);
    for (int part = 1; part < 4; part++)
        sums[part] = wide_folded(sums[part - 1], by, sums[part]);
    _mm512_storeu_si512(into, sums[3]);
}

static int is_wide(void) { return SERIESIO_HAS("avx512f") && SERIESIO_HAS("vpclmulqdq"); }

/* The CRC register after at least 64 bytes, a multiple of 16 of them. */
TARGET static uint32_t summed(const uint8_t *at, size_t count, uint32_t crc) {
    __m128i by = load(K12), sums[4];
    size_t first = count >= LONG && is_wide() ? count & ~(size_t)(LONG - 1) : BLOCK;
    if (first >= LONG) {
        wide_summed(at, first, crc, sums);
    } else {
        for (int part = 0; part < 4; part++)
            sums[part] = load(at + 16 * part);
        sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128((int)crc));
    }
    at += first, count -= first;
    for (; count >= BLOCK; at += BLOCK, count -= BLOCK)
        for (int part = 0; part < 4; part++)
            sums[part] = folded(sums[part], by, load(at + 16 * part));
    by = load(K34);
    __m128i sum = sums[0];
    for (int part = 1; part < 4; part++)
        sum = folded(sum, by, sums[part]);
    for (; count >= 16; at += 16, count -= 16)
        sum = folded(sum, by, load(at));
    /* 128 bits to 64, to 32, and Barrett's reduction. */
    __m128i mask = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i rest = _mm_clmulepi64_si128(sum, by, 0x10);
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), rest);
    rest = _mm_srli_si128(sum, 4);
    sum = _mm_clmulepi64_si128(_mm_and_si128(sum, mask), load(K5), 0x00);
    sum = _mm_xor_si128(sum, rest);
    __m128i poly = load(POLY);
    rest = _mm_clmulepi64_si128(_mm_and_si128(sum, mask), poly, 0x10);
    rest = _mm_clmulepi64_si128(_mm_and_si128(rest, mask), poly, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(sum, rest), 1);
}
#endif

/* The few bytes that are no whole 16: bit by bit. */
static uint32_t bitwise(const uint8_t *at, size_t count, uint32_t crc) {
    for (; count; at++, count--) {
        crc ^= *at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return crc;
}

int native_crc32_is_fast(void) {
#if SERIESIO_X86
    return SERIESIO_HAS("pclmul") && SERIESIO_HAS("sse4.1");
#else
    return 0;
#endif
}

uint32_t crc32_of(const uint8_t *at, size_t count, uint32_t value) {
    uint32_t crc = ~value;
#if SERIESIO_X86
    size_t whole = count & ~(size_t)15;
    if (whole >= BLOCK && native_crc32_is_fast()) {
        crc = summed(at, whole, crc);
        at += whole, count -= whole;
    }
#endif
    return ~bitwise(at, count, crc);
}

PyObject *native_crc32(PyObject *module, PyObject *args) {
    Py_buffer data;
    unsigned int value = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "y*|I", &data, &value))
        return NULL;
    PyThreadState *state = let_others((size_t)data.len);
    uint32_t crc = crc32_of(data.buf, (size_t)data.len, value);
    no_others(state);
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(crc);
}
