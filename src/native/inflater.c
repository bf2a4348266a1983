/* seriesio._inflater: raw deflate (RFC 1951) by zlib, straight into memory that the caller has.

   The zlib module of the standard library gives new bytes for every call, which have to be found
   memory for and copied. */
#include "native.h"

#include <limits.h>
#include <stddef.h>
#include <zlib.h>

typedef struct {
    PyObject_HEAD
    z_stream stream;
    int begun, busy;
    char eof;
} Inflater;

static PyObject *inflater_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Inflater *self = (Inflater *)alloc(type, 0); /* all zero */
    (void)args, (void)kwargs;
    if (self == NULL)
        return NULL;
    if (inflateInit2(&self->stream, -MAX_WBITS) != Z_OK) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->begun = 1;
    return (PyObject *)self;
}

static void inflater_dealloc(PyObject *object) {
    Inflater *self = (Inflater *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    if (self->begun)
        inflateEnd(&self->stream);
    release(object);
    Py_DECREF(type);
}

static uInt at_most(Py_ssize_t length) {
    return length > (Py_ssize_t)(UINT_MAX / 2) ? UINT_MAX / 2 : (uInt)length;
}

static PyObject *inflater_into(PyObject *object, PyObject *args) {
    Inflater *self = (Inflater *)object;
    Py_buffer data, out;
    if (!PyArg_ParseTuple(args, "y*w*", &data, &out))
        return NULL;
    if (self->busy) {
        PyBuffer_Release(&data);
        PyBuffer_Release(&out);
        PyErr_SetString(PyExc_RuntimeError, "Inflater: used by two threads at once");
        return NULL;
    }
    z_stream *stream = &self->stream;
    uInt given = at_most(data.len), room = at_most(out.len);
    int result = Z_BUF_ERROR;
    if (!self->eof && room) {
        self->busy = 1;
        stream->next_in = data.buf, stream->avail_in = given;
        stream->next_out = out.buf, stream->avail_out = room;
        size_t about = 8 * (size_t)data.len; /* what comes of so much */
        PyThreadState *state = let_others(room < about ? room : about);
        result = inflate(stream, Z_NO_FLUSH);
        no_others(state);
        given -= stream->avail_in, room -= stream->avail_out;
        stream->next_in = stream->next_out = NULL; /* nothing of a call outlives it */
        stream->avail_in = stream->avail_out = 0;
        self->eof = result == Z_STREAM_END;
        self->busy = 0;
    } else
        given = room = 0;
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    if (result == Z_MEM_ERROR)
        return PyErr_NoMemory();
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        PyErr_Format(PyExc_ValueError, "does not inflate: %s",
                     stream->msg ? stream->msg : "damaged");
        return NULL;
    }
    return Py_BuildValue("(II)", given, room);
}

static PyObject *inflater_eof(PyObject *object, void *closure) {
    (void)closure;
    return PyBool_FromLong(((Inflater *)object)->eof);
}

static PyMethodDef inflater_methods[] = {
    {"into", inflater_into, METH_VARARGS,
     "into(data, out) -> (bytes of data that were used, bytes of out that were filled)"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef inflater_attributes[] = {
    {"eof", inflater_eof, NULL, "True once the stream has come to its own end", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot inflater_slots[] = {
    {Py_tp_new, (void *)inflater_new},
    {Py_tp_dealloc, (void *)inflater_dealloc},
    {Py_tp_methods, inflater_methods},
    {Py_tp_getset, inflater_attributes},
    {Py_tp_doc, "Inflates one raw deflate stream."},
    {0, NULL},
};

static PyType_Spec inflater_spec = {
    "seriesio._inflater.Inflater", sizeof(Inflater), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, inflater_slots,
};

static int filled(PyObject *module) {
    PyObject *type = PyType_FromSpec(&inflater_spec);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Inflater", type);
    Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)filled}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "seriesio._inflater",
    "Raw deflate into memory that the caller has: see seriesio.native.",
    0,
    NULL,
    slots,
    NULL,
    NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__inflater(void) { return PyModuleDef_Init(&definition); }
