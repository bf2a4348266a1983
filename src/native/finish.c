/* One pass over 16-bit cells: their least and greatest, a number added to each, column sums. */
#include "native.h"

#include <string.h>

/* A stretch that stays in the first cache while it is passed over twice. */
#define PASS(name, attribute, type)                                                   \
    attribute static Range name(uint8_t *bytes, size_t cells, uint16_t add, uint64_t *sums,        \
                                size_t columns, Range range) {                                     \
        type low = (type)range.low, high = (type)range.high;                                       \
        for (size_t at = 0; at < cells; at++) {                                                    \
            type cell;                                                                             \
            memcpy(&cell, bytes + 2 * at, 2);                                                      \
            low = cell < low ? cell : low;                                                         \
            high = cell > high ? cell : high;                                                      \
            cell = (type)(uint16_t)((uint16_t)cell + add);                                         \
            memcpy(bytes + 2 * at, &cell, 2);                                                      \
        }                                                                                          \
        for (size_t at = 0; at < columns; at++) {                                                  \
            uint64_t word;                                                                         \
            memcpy(&word, bytes + 8 * at, 8);                                                      \
            sums[at] += word;                                                                      \
        }                                                                                          \
        return (Range){low, high};                                                                 \
    }

PASS(signed_plain, , int16_t)
PASS(unsigned_plain, , uint16_t)
#if SERIESIO_X86
PASS(signed_avx2, SERIESIO_AVX2, int16_t)
PASS(unsigned_avx2, SERIESIO_AVX2, uint16_t)
#endif

typedef Range (*Pass)(uint8_t *, size_t, uint16_t, uint64_t *, size_t, Range);

static Pass chosen(int is_signed) {
#if SERIESIO_X86
    if (SERIESIO_HAS("avx2"))
        return is_signed ? signed_avx2 : unsigned_avx2;
#endif
    return is_signed ? signed_plain : unsigned_plain;
}

Range finished(uint8_t *bytes, size_t count, int is_signed, uint16_t add, uint64_t *sums,
               size_t columns) {
    Pass pass = chosen(is_signed);
    Range range = is_signed ? (Range){INT16_MAX, INT16_MIN} : (Range){UINT16_MAX, 0};
    size_t row = 8 * columns;
    memset(sums, 0, row);
    for (; count >= row; bytes += row, count -= row)
        range = pass(bytes, row / 2, add, sums, columns, range);
    return pass(bytes, count / 2, add, sums, 0, range);
}

PyObject *native_finish(PyObject *module, PyObject *args) {
    Py_buffer cells, sums;
    Py_ssize_t slots, columns;
    int is_signed;
    unsigned short add;
    Range range = {0, 0};
    (void)module;
    if (!PyArg_ParseTuple(args, "w*npHnw*", &cells, &slots, &is_signed, &add, &columns, &sums))
        return NULL;
    Py_ssize_t slot_bytes = slots > 0 ? cells.len / slots : 0;
    /* Divided, not multiplied: no product can overflow. */
    if (slots <= 0 || columns <= 0 || cells.len % slots || slot_bytes % 2 || slot_bytes == 0 ||
        sums.len % 8 || sums.len / 8 % columns || sums.len / 8 / columns != slots ||
        (uintptr_t)sums.buf % sizeof(uint64_t)) {
        PyBuffer_Release(&cells);
        PyBuffer_Release(&sums);
        PyErr_SetString(PyExc_ValueError, "finish: buffers of other sizes than announced");
        return NULL;
    }
    PyThreadState *state = let_others((size_t)cells.len);
    for (Py_ssize_t slot = 0; slot < slots; slot++) {
        uint8_t *bytes = (uint8_t *)cells.buf + slot * slot_bytes;
        uint64_t *own_sums = (uint64_t *)sums.buf + slot * columns;
        Range own = finished(bytes, (size_t)slot_bytes, is_signed, add, own_sums, (size_t)columns);
        range.low = slot && range.low < own.low ? range.low : own.low;
        range.high = slot && range.high > own.high ? range.high : own.high;
    }
    no_others(state);
    PyBuffer_Release(&cells);
    PyBuffer_Release(&sums);
    return Py_BuildValue("(ii)", range.low, range.high);
}
