/* What a directory holds, with one call: as os.scandir and os.lstat of each entry. */
#include "native.h"

#ifndef _WIN32
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char *name;
    int error; /* of looking at it; 0: none */
    long long mode, size, modified;
    unsigned long long device, inode;
} Entry;

typedef struct {
    Entry *all;
    size_t count, room;
} Entries;

static int own(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

static int noted(Entries *entries, int folder, const char *name) {
    if (entries->count == entries->room) {
        size_t room = entries->room ? 2 * entries->room : 64;
        Entry *all = realloc(entries->all, room * sizeof *all);
        if (all == NULL)
            return ENOMEM;
        entries->all = all;
        entries->room = room;
    }
    Entry *entry = &entries->all[entries->count];
    struct stat status;
    memset(entry, 0, sizeof *entry);
    entry->name = strdup(name);
    if (entry->name == NULL)
        return ENOMEM;
    entries->count++;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW)) {
        entry->error = errno;
        return 0;
    }
    entry->mode = (long long)status.st_mode;
    entry->size = (long long)status.st_size;
    entry->device = (unsigned long long)status.st_dev;
    entry->inode = (unsigned long long)status.st_ino;
    entry->modified = modified_ns(&status);
    return 0;
}

/* 0, or an errno. */
static int listed(const char *path, Entries *entries) {
    DIR *folder = opendir(path);
    int error = 0;
    if (folder == NULL)
        return errno;
    while (!error) {
        errno = 0;
        const struct dirent *found = readdir(folder);
        if (found == NULL) {
            error = errno;
            break;
        }
        if (!own(found->d_name))
            error = noted(entries, dirfd(folder), found->d_name);
    }
    closedir(folder);
    return error;
}

static PyObject *told(const Entries *entries) {
    PyObject *list = PyList_New((Py_ssize_t)entries->count);
    for (size_t i = 0; list != NULL && i < entries->count; i++) {
        const Entry *entry = &entries->all[i];
        PyObject *one = Py_BuildValue("(NiLLKKL)", PyUnicode_DecodeFSDefault(entry->name),
                                      entry->error, entry->mode, entry->size, entry->device,
                                      entry->inode, entry->modified);
        if (one == NULL || PyList_SetItem(list, (Py_ssize_t)i, one) < 0)
            Py_CLEAR(list);
    }
    return list;
}

PyObject *native_listing(PyObject *module, PyObject *args) {
    PyObject *path, *list = NULL;
    Entries entries = {NULL, 0, 0};
    (void)module;
    if (!PyArg_ParseTuple(args, "O&", PyUnicode_FSConverter, &path))
        return NULL;
    const char *name = PyBytes_AsString(path);
    if (name != NULL) {
        PyThreadState *state = PyEval_SaveThread();
        int error = listed(name, &entries);
        PyEval_RestoreThread(state);
        if (error) {
            errno = error;
            PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
        } else
            list = told(&entries);
    }
    for (size_t i = 0; i < entries.count; i++)
        free(entries.all[i].name);
    free(entries.all);
    Py_DECREF(path);
    return list;
}
#endif
