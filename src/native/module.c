/* seriesio._native: the passes over bytes that an interpreter is too slow for.

   Arithmetic over buffers that the caller hands over, and reading into them: nothing here keeps
   memory or files beyond a call. seriesio/native.py is its only caller, and does without it
   where it was not built. */
#include "native.h"

static PyMethodDef always[] = {
    {"finish", native_finish, METH_VARARGS,
     "finish(cells, slots, signed, add, columns, sums) -> (least, greatest)"},
    {"lockstep", native_lockstep, METH_VARARGS,
     "lockstep(arena, bases, ends, starts, lengths, kinds, fixed, words, top, after, even, good, "
     "starts, offsets, lengths)"},
    {"md5", native_md5, METH_VARARGS, "md5(items) -> [digest of each tuple of buffers]"},
#ifndef _WIN32
    {"listing", native_listing, METH_VARARGS,
     "listing(path) -> [(name, errno, st_mode, st_size, st_dev, st_ino, st_mtime_ns) of each entry]"},
    {"read", native_read, METH_VARARGS,
     "read([(path or file, offset, into, CRC or -1, st_mtime_ns)]) -> [(bytes or -errno, CRC)]"},
    {"read_cells", native_read_cells, METH_VARARGS,
     "read_cells([(…, add, sums)], signed) -> [(read, CRC, least, greatest)]"},
#endif
    {NULL, NULL, 0, NULL},
};

static PyMethodDef here[] = {
    {"crc32", native_crc32, METH_VARARGS, "crc32(data, value=0) -> as zlib.crc32"},
    {NULL, NULL, 0, NULL},
};

static int filled(PyObject *module) {
    return native_crc32_is_fast() ? PyModule_AddFunctions(module, here) : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)filled}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    "seriesio._native",
    "Compiled passes: see seriesio.native.",
    0,
    always,
    slots,
    NULL,
    NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
