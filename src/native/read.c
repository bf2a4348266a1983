/* Spans of files into memory, many with one call, and cells finished while they are in the cache.

   Each of these calls would be made by the interpreter as well, which has to be let go and got
   back around each: with several threads that takes longer than the reading. */
#include "native.h"

#ifndef _WIN32
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) >= 8, "files of more than 2 GB");

typedef struct {
    PyObject *path; /* bytes, or NULL: a file that is open already */
    const char *name;
    int file;
    long long offset, crc; /* less than 0: no CRC */
    long long modified; /* of a path: what was seen when it was listed; UNSEEN: nothing */
    Py_buffer into, sums;
    unsigned short add;
    Py_ssize_t done; /* bytes that were read, or less than 0: an errno */
    Range range;
} Span;


/* True for a file that is no longer the one that was listed. */
static int another(const Span *span, int file) {
    struct stat status;
    return span->path && span->modified != UNSEEN &&
           (fstat(file, &status) || modified_ns(&status) != span->modified);
}

/* O_NONBLOCK: a FIFO put in the file's place must not hold the thread for ever. */
static Py_ssize_t filled(const Span *span) {
    Py_ssize_t done = 0;
    int file = span->path ? open(span->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : span->file;
    if (file < 0)
        return -errno;
    if (another(span, file))
        done = -ESTALE;
    while (done >= 0 && done < span->into.len) {
        ssize_t count = pread(file, (char *)span->into.buf + done, (size_t)(span->into.len - done),
                              (off_t)(span->offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            done = -errno;
        if (count <= 0)
            break;
        done += count;
    }
    if (span->path)
        close(file);
    return done;
}

static void let_go(Span *spans, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_XDECREF(spans[i].path);
        if (spans[i].into.obj)
            PyBuffer_Release(&spans[i].into);
        if (spans[i].sums.obj)
            PyBuffer_Release(&spans[i].sums);
    }
    free(spans);
}

/* A path, or the number of an open file. */
static int found(PyObject *where, Span *span) {
    if (!PyLong_Check(where)) {
        if (!PyUnicode_FSConverter(where, &span->path))
            return -1;
        span->name = PyBytes_AsString(span->path);
        return span->name ? 0 : -1;
    }
    long number = PyLong_AsLong(where);
    if (number < 0 || number > INT_MAX) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no number of a file");
        return -1;
    }
    span->file = (int)number;
    return 0;
}

/* (path or file, offset, into, CRC so far, modified), and for cells also (…, add, sums). */
static int taken(PyObject *item, Span *span, int cells) {
    const char *form = cells ? "OLw*LLHw*" : "OLw*LL";
    PyObject *where;
    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a list of tuples");
        return -1;
    }
    if (!PyArg_ParseTuple(item, form, &where, &span->offset, &span->into, &span->crc,
                          &span->modified, &span->add, &span->sums)) {
        /* What was parsed before the error is given back by the parser. */
        span->into.obj = span->sums.obj = NULL;
        return -1;
    }
    if (found(where, span) < 0)
        return -1;
    if (span->offset < 0 || span->offset > LLONG_MAX - span->into.len ||
        span->crc > (long long)UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "an offset or a CRC out of range");
        return -1;
    }
    if (cells && (span->into.len % 2 || span->sums.len % 8 || span->sums.len == 0 ||
                  (uintptr_t)span->sums.buf % sizeof(uint64_t))) {
        PyErr_SetString(PyExc_ValueError, "cells of 2 bytes, sums of 8");
        return -1;
    }
    return 0;
}

static Span *spans_of(PyObject *items, Py_ssize_t *count, int cells) {
    *count = PyTuple_Size(items); /* a copy of the caller's: nobody else can make it shorter */
    Span *spans = calloc((size_t)*count + 1, sizeof *spans);
    if (spans == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < *count; i++)
        if (taken(PyTuple_GetItem(items, i), &spans[i], cells) < 0) {
            let_go(spans, *count);
            return NULL;
        }
    return spans;
}

static PyObject *told(const Span *spans, Py_ssize_t count, int cells) {
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        const Span *span = &spans[i];
        PyObject *one =
            cells ? Py_BuildValue("(nLii)", span->done, span->crc, span->range.low, span->range.high)
                  : Py_BuildValue("(nL)", span->done, span->crc);
        if (one == NULL || PyList_SetItem(list, i, one) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *read_all(PyObject *sequence, int cells, int is_signed) {
    PyObject *list = NULL, *items = PySequence_Tuple(sequence);
    Py_ssize_t count = 0;
    Span *spans = items ? spans_of(items, &count, cells) : NULL;
    if (spans) {
        PyThreadState *state = PyEval_SaveThread();
        for (Py_ssize_t i = 0; i < count; i++) {
            Span *span = &spans[i];
            /* An event loop that has something to do shall not wait for a whole time slice. */
            if (i)
                sched_yield();
            span->done = filled(span);
            if (span->crc >= 0 && span->done > 0)
                span->crc = crc32_of(span->into.buf, (size_t)span->done, (uint32_t)span->crc);
            if (cells && span->done == span->into.len)
                span->range = finished(span->into.buf, (size_t)span->into.len, is_signed, span->add,
                                       span->sums.buf, (size_t)span->sums.len / 8);
        }
        PyEval_RestoreThread(state);
        list = told(spans, count, cells);
        let_go(spans, count);
    }
    Py_XDECREF(items);
    return list;
}

PyObject *native_read(PyObject *module, PyObject *args) {
    PyObject *items;
    (void)module;
    return PyArg_ParseTuple(args, "O", &items) ? read_all(items, 0, 0) : NULL;
}

PyObject *native_read_cells(PyObject *module, PyObject *args) {
    PyObject *items;
    int is_signed;
    (void)module;
    return PyArg_ParseTuple(args, "Op", &items, &is_signed) ? read_all(items, 1, is_signed) : NULL;
}
#endif
