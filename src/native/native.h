/* What the files of seriesio._native share. */
#ifndef SERIESIO_NATIVE_H
#define SERIESIO_NATIVE_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030b0000 /* buffers are in it since 3.11 */
#endif
#include <Python.h>

#include <limits.h>
#include <stdint.h>

/* One function for processors with AVX2, one for all others, of the same lines: chosen by each
   call. */
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define SERIESIO_X86 1
#define SERIESIO_AVX2 __attribute__((target("avx2")))
#define SERIESIO_HAS(feature) __builtin_cpu_supports(feature)
#else
#define SERIESIO_X86 0
#endif

/* Fewer bytes are passed over sooner than other threads have been let in and out. */
#define SERIESIO_MANY (1 << 15)

static inline PyThreadState *let_others(size_t bytes) {
    return bytes >= SERIESIO_MANY ? PyEval_SaveThread() : NULL;
}

static inline void no_others(PyThreadState *state) {
    if (state)
        PyEval_RestoreThread(state);
}

typedef struct {
    int low, high;
} Range;

/* One pass over the 16-bit cells of a slot: the least and the greatest; adds a number to each, and
   sums the 64-bit words in columns. */
Range finished(uint8_t *bytes, size_t count, int is_signed, uint16_t add, uint64_t *sums,
               size_t columns);

/* The CRC-32 of bytes, going on from a value; quick only where native_crc32_is_fast. */
uint32_t crc32_of(const uint8_t *at, size_t count, uint32_t value);
int native_crc32_is_fast(void);
PyObject *native_crc32(PyObject *module, PyObject *args);
PyObject *native_finish(PyObject *module, PyObject *args);
PyObject *native_lockstep(PyObject *module, PyObject *args);
PyObject *native_md5(PyObject *module, PyObject *args);
#ifndef _WIN32
#include <sys/stat.h>

#define UNSEEN LLONG_MIN /* no time that a file was changed */

/* When a file was changed last, in nanoseconds since 1970; UNSEEN: more than 64 bits. */
static inline long long modified_ns(const struct stat *status) {
#ifdef __APPLE__
    const struct timespec *when = &status->st_mtimespec;
#else
    const struct timespec *when = &status->st_mtim;
#endif
    long long seconds = (long long)when->tv_sec, most = LLONG_MAX / 1000000000LL;
    return seconds < -most || seconds >= most ? UNSEEN
                                              : seconds * 1000000000LL + (long long)when->tv_nsec;
}

PyObject *native_listing(PyObject *module, PyObject *args);
PyObject *native_read(PyObject *module, PyObject *args);
PyObject *native_read_cells(PyObject *module, PyObject *args);
#endif

#endif
