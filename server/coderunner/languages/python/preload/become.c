/* Two things that a forked interpreter cannot do in Python: become another program's main program as if it had
 * just begun, and have a child that is its own parent's.
 *
 * Built for the Python of the image, and for no other: it sets fields of the interpreter's configuration and
 * of the thread's state as that version has them.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#if PY_VERSION_HEX < 0x030d0000 || PY_VERSION_HEX >= 0x030e0000
#error "look at Py_RunMain and the thread state of this version of Python first"
#endif

/* Exported by the interpreter, and declared in headers of its own. */
extern const PyConfig *_Py_GetConfig(void);
extern void _PyInterpreterState_SetNotRunningMain(PyInterpreterState *);

#ifndef CLONE_PARENT
#define CLONE_PARENT 0x00008000
#endif

static wchar_t **
wide_strings(PyObject *list, Py_ssize_t count)
{
    wchar_t **words = PyMem_Calloc(count + 1, sizeof(wchar_t *));
    if (words == NULL) {
        return (wchar_t **)PyErr_NoMemory();
    }
    for (Py_ssize_t number = 0; number < count; number++) {
        words[number] = PyUnicode_AsWideCharString(PyList_GET_ITEM(list, number), NULL);
        if (words[number] == NULL) {
            return NULL;
        }
    }
    return words;
}

PyDoc_STRVAR(run_doc,
"run(path, argv): as `python3 argv...` does, from the reading of the file to the exit code.\n\n"
"`path` is the file's, absolute. Returns only with an exception, before anything has begun. No frame of the\n"
"caller is below the program's.");

static PyObject *
run(PyObject *module, PyObject *arguments)
{
    PyObject *path, *argv;
    if (!PyArg_ParseTuple(arguments, "UO!", &path, &PyList_Type, &argv)) {
        return NULL;
    }
    Py_ssize_t count = PyList_GET_SIZE(argv);
    wchar_t **words = wide_strings(argv, count);
    wchar_t *file = PyUnicode_AsWideCharString(path, NULL);
    if (words == NULL || file == NULL) {
        return NULL;
    }
    PyThreadState *state = PyThreadState_Get();
    PyConfig *config = (PyConfig *)_Py_GetConfig();
    if (PyStatus_Exception(PyConfig_SetWideStringList(config, &config->argv, count, words))
        || PyStatus_Exception(PyConfig_SetString(config, &config->run_filename, file))
        || PyStatus_Exception(PyConfig_SetString(config, &config->run_command, NULL))
        || PyStatus_Exception(PyConfig_SetString(config, &config->run_module, NULL))) {
        return PyErr_NoMemory();
    }
    _PyInterpreterState_SetNotRunningMain(state->interp);
    state->current_frame = NULL;
    state->py_recursion_remaining = state->py_recursion_limit;
    state->c_recursion_remaining = Py_C_RECURSION_LIMIT;
    exit(Py_RunMain());
}

PyDoc_STRVAR(fork_beside_doc,
"fork_beside(): as os.fork(), but the child is a child of this process's parent, who waits for it.");

static PyObject *
fork_beside(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyOS_BeforeFork();
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    int problem = errno;
    if (pid == 0) {
        PyOS_AfterFork_Child();
    }
    else {
        PyOS_AfterFork_Parent();
    }
    if (pid < 0) {
        errno = problem;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(pid);
}

static PyMethodDef methods[] = {
    {"run", run, METH_VARARGS, run_doc},
    {"fork_beside", fork_beside, METH_NOARGS, fork_beside_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "become", NULL, -1, methods};

PyMODINIT_FUNC
PyInit_become(void)
{
    return PyModule_Create(&definition);
}
