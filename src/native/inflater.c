/* seriesio._inflater: raw deflate (RFC 1951), straight into memory that the caller has.

   The zlib module of the standard library gives new bytes for every call, which have to be found
   memory for and copied, and takes twice as long. */
#include "native.h"

#include "inflate.h"

#include <limits.h>

typedef struct {
    PyObject_HEAD
    Inflate *stream;
    int busy;
} Inflater;

static PyObject *inflater_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Inflater *self = (Inflater *)alloc(type, 0); /* all zero */
    (void)args, (void)kwargs;
    if (self == NULL)
        return NULL;
    self->stream = PyMem_Malloc(sizeof *self->stream);
    if (self->stream == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    inflate_begin(self->stream);
    return (PyObject *)self;
}

static void inflater_dealloc(PyObject *object) {
    Inflater *self = (Inflater *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyMem_Free(self->stream);
    release(object);
    Py_DECREF(type);
}

static size_t at_most(Py_ssize_t length) {
    return length > INT_MAX ? INT_MAX : (size_t)length;
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
    size_t used = 0, made = 0;
    const char *wrong = NULL;
    if (!inflate_ended(self->stream) && out.len) {
        size_t given = at_most(data.len), room = at_most(out.len);
        const uint8_t *in = data.buf, *in_end = in + given;
        uint8_t *at = out.buf, *out_end = at + room;
        self->busy = 1;
        size_t work = room < 8 * given ? room : 8 * given;
        /* Blocks may hold nothing: what is read is work, too. */
        PyThreadState *state = let_others(work < given ? given : work);
        wrong = inflate_on(self->stream, &in, in_end, &at, out_end);
        no_others(state);
        self->busy = 0;
        used = wrong ? 0 : (size_t)(in - (const uint8_t *)data.buf);
        made = wrong ? 0 : (size_t)(at - (uint8_t *)out.buf);
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    if (wrong) {
        PyErr_Format(PyExc_ValueError, "does not inflate: %s", wrong);
        return NULL;
    }
    return Py_BuildValue("(nn)", (Py_ssize_t)used, (Py_ssize_t)made);
}

static PyObject *inflater_eof(PyObject *object, void *closure) {
    (void)closure;
    return PyBool_FromLong(inflate_ended(((Inflater *)object)->stream));
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
