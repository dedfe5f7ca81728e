/** Linked into each program: one that a signal ends says where it was, as one that an exception ends. */
module coderunner_crash;

import core.runtime : defaultTraceHandler;
import core.stdc.stdio : fprintf, stderr;
import core.sys.posix.signal : sigaction, sigaction_t, SA_NODEFER, SA_RESETHAND, SIGBUS, SIGFPE, SIGSEGV;

private extern (C) void crashed(int number)
{
    fprintf(stderr, "%s\n----------------\n", number == SIGFPE
            ? "Stopped by SIGFPE: division by zero".ptr
            : "Stopped by SIGSEGV: memory that is not the program's, as by a null reference".ptr);
    foreach (line; defaultTraceHandler(null))
        fprintf(stderr, "%.*s\n", cast(int) line.length, line.ptr);
    // What it was doing is done once more, and ends it by the signal.
}

shared static this()
{
    sigaction_t action;
    action.sa_handler = &crashed;
    // A second one, such as of a stack that is full, ends it at once.
    action.sa_flags = SA_RESETHAND | SA_NODEFER;
    foreach (number; [SIGSEGV, SIGBUS, SIGFPE])
        sigaction(number, &action, null);
}
