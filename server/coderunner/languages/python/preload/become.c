/* What a forked interpreter cannot do in Python: become another program's main program as if it had just begun, be
 * shown by `ps` as that program, have a child that is its own parent's, leave alone the memory of objects that it
 * only uses, tidy up at a program's end without being seen by its tracers, and say that it has a user's packages.
 *
 * Built for the Python of the image, and for no other: it sets fields of the interpreter's configuration and
 * of the thread's state as that version has them.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <linux/prctl.h>
#include <signal.h>
#include <sys/prctl.h>
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

PyDoc_STRVAR(show_as_doc,
"show_as(words, names, places): what `ps` and /proc show as this process's command line and environment.\n\n"
"`words`, `names`: each with a NUL at its end. `places`: start_code, end_code, start_data, end_data, start_brk\n"
"and start_stack, as /proc/self/stat has them. Raises OSError where the kernel has no such call.");

static PyObject *
show_as(PyObject *module, PyObject *arguments)
{
    const char *words, *names;
    Py_ssize_t words_size, names_size;
    unsigned long long code, code_end, data, data_end, brk, stack;
    if (!PyArg_ParseTuple(arguments, "y#y#(KKKKKK)", &words, &words_size, &names, &names_size, &code, &code_end, &data,
                          &data_end, &brk, &stack)) {
        return NULL;
    }
    /* Never freed: the kernel reads it there for as long as the process lives. */
    char *shown = malloc(words_size + names_size);
    if (shown == NULL) {
        return PyErr_NoMemory();
    }
    memcpy(shown, words, words_size);
    memcpy(shown + words_size, names, names_size);
    unsigned long long begin = (unsigned long long)(uintptr_t)shown, middle = begin + words_size;
    struct prctl_mm_map map = {
        .start_code = code, .end_code = code_end, .start_data = data, .end_data = data_end, .start_brk = brk,
        .brk = (unsigned long long)(uintptr_t)sbrk(0), .start_stack = stack, .arg_start = begin, .arg_end = middle,
        .env_start = middle, .env_end = middle + names_size, .auxv = NULL, .auxv_size = 0, .exe_fd = (__u32)-1,
    };
    if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        free(shown);
        return NULL;
    }
    Py_RETURN_NONE;
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

/* Objects that are found and not looked into yet. */
struct found {
    PyObject **objects;
    size_t count, room;
};

static int
make_immortal(PyObject *object, void *argument)
{
    struct found *found = argument;
    if (object == NULL || _Py_IsImmortal(object)) {
        return 0;
    }
    if (found->count == found->room) {
        size_t room = found->room ? 2 * found->room : 4096;
        PyObject **objects = realloc(found->objects, room * sizeof(PyObject *));
        if (objects == NULL) {
            return -1;
        }
        found->objects = objects;
        found->room = room;
    }
    object->ob_refcnt = _Py_IMMORTAL_REFCNT;
    found->objects[found->count++] = object;
    return 0;
}

static int
look_into(PyObject *object, struct found *found)
{
    PyTypeObject *type = Py_TYPE(object);
    if (make_immortal((PyObject *)type, found) < 0) {
        return -1;
    }
    if (PyCode_Check(object)) { /* which the collector never looks into */
        PyCodeObject *code = (PyCodeObject *)object;
        PyObject *parts[] = {
            code->co_consts, code->co_names, code->co_exceptiontable, code->co_localsplusnames,
            code->co_localspluskinds, code->co_filename, code->co_name, code->co_qualname, code->co_linetable,
        };
        for (size_t number = 0; number < sizeof(parts) / sizeof(parts[0]); number++) {
            if (make_immortal(parts[number], found) < 0) {
                return -1;
            }
        }
        return 0;
    }
    return PyType_IS_GC(type) && type->tp_traverse != NULL ? type->tp_traverse(object, make_immortal, found) : 0;
}

PyDoc_STRVAR(keep_for_ever_doc,
"keep_for_ever(objects): these, and all that they refer to, become immortal as None is (PEP 683).\n\n"
"A reference counted is a page written, which a fork has to copy first. What is immortal is counted by nobody,\n"
"and not taken apart at the end.");

static PyObject *
keep_for_ever(PyObject *module, PyObject *list)
{
    if (!PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "a list is needed");
        return NULL;
    }
    struct found found = {NULL, 0, 0};
    int failed = 0;
    for (Py_ssize_t number = 0; number < PyList_GET_SIZE(list) && !failed; number++) {
        failed = make_immortal(PyList_GET_ITEM(list, number), &found) < 0;
        while (found.count && !failed) {
            failed = look_into(found.objects[--found.count], &found) < 0;
        }
    }
    free(found.objects);
    if (failed) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static PyObject *kept = NULL; /* modules by their names */

PyDoc_STRVAR(forget_doc,
"forget(modules=None): keeps these modules by their names; without an argument, takes those out of sys.modules.\n\n"
"At a program's very end, so that they are not taken apart, but die with the process. In C, as what sys.settrace\n"
"has set would see each line of Python.");

static PyObject *
forget(PyObject *module, PyObject *arguments)
{
    PyObject *modules = NULL, *name, *one;
    if (!PyArg_ParseTuple(arguments, "|O!", &PyDict_Type, &modules)) {
        return NULL;
    }
    if (modules != NULL) {
        Py_XSETREF(kept, Py_NewRef(modules));
        Py_RETURN_NONE;
    }
    PyObject *known = PyImport_GetModuleDict();
    Py_ssize_t place = 0;
    while (kept != NULL && PyDict_Next(kept, &place, &name, &one)) {
        if (PyDict_Check(known) && PyDict_GetItemWithError(known, name) == one
            && PyDict_DelItem(known, name) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(with_user_site_doc,
"with_user_site(): what programs see of `-s`, with which this interpreter was started, is as without it.");

static PyObject *
with_user_site(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    static const Py_ssize_t NO_USER_SITE = 5; /* of sys.flags */
    PyObject *flags = PySys_GetObject("flags");
    if (flags == NULL || PyTuple_GET_ITEM(flags, NO_USER_SITE) != PyLong_FromLong(1)) {
        PyErr_SetString(PyExc_RuntimeError, "this interpreter was not started with -s");
        return NULL;
    }
    ((PyConfig *)_Py_GetConfig())->user_site_directory = 1;
    PyTuple_SET_ITEM(flags, NO_USER_SITE, PyLong_FromLong(0)); /* small numbers are immortal */
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"forget", forget, METH_VARARGS, forget_doc},
    {"with_user_site", with_user_site, METH_NOARGS, with_user_site_doc},
    {"keep_for_ever", keep_for_ever, METH_O, keep_for_ever_doc},
    {"run", run, METH_VARARGS, run_doc},
    {"show_as", show_as, METH_VARARGS, show_as_doc},
    {"fork_beside", fork_beside, METH_NOARGS, fork_beside_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "become", NULL, -1, methods};

PyMODINIT_FUNC
PyInit_become(void)
{
    return PyModule_Create(&definition);
}
