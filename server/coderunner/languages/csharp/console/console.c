/* What Mono 6.12's console sees of a terminal, so that nothing is lost of what is typed while it asks it something.
 *
 * Before each line it asks the terminal where the cursor is, and reads the answer as it reads keys.
 *
 * First it reads what was typed ahead: as many characters as the kernel says that there are bytes. With a character
 * of two bytes among them it waits for one that nobody types. So it is told of one byte at a time.
 *
 * Then it takes a key that comes before the answer for the answer, gives up, and reads the answer as keys. So keys
 * wait here until the answer is there, for a second at most, and come behind it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 1000, ROOM = 8192 };

static volatile int asked;     /* a question is out, and its answer has not been read */
static char waiting[ROOM];     /* what was read and not handed on */
static volatile size_t filled;

__attribute__((constructor)) static void
begin(void)
{
    unsetenv("LD_PRELOAD"); /* for this program alone, and none that it starts */
}

static long
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Where in what waits an answer begins, and its length; 0 where there is none. */
static size_t
answer(size_t *begin)
{
    for (size_t at = 0; at + 1 < filled; at++) {
        if (waiting[at] != '\033' || waiting[at + 1] != '[') {
            continue;
        }
        size_t end = at + 2;
        while (end < filled && strchr("0123456789;", waiting[end]) != NULL) {
            end++;
        }
        if (end < filled && waiting[end] == 'R') {
            *begin = at;
            return end + 1 - at;
        }
    }
    return 0;
}

/* The answer first, then the keys that came before it. */
static void
await_answer(int file)
{
    long until = now_ms() + PATIENCE_MS;
    size_t begin, size;
    while ((size = answer(&begin)) == 0 && filled < ROOM) {
        struct pollfd one = {.fd = file, .events = POLLIN};
        long left = until - now_ms();
        if (left <= 0 || poll(&one, 1, (int)left) <= 0 || !(one.revents & POLLIN)) {
            break;
        }
        long count = syscall(SYS_read, file, waiting + filled, ROOM - filled);
        if (count <= 0) {
            break;
        }
        filled += (size_t)count;
    }
    asked = 0;
    if (size > 0 && size < 64) {
        char copy[64];
        memcpy(copy, waiting + begin, size);
        memmove(waiting + size, waiting, begin);
        memcpy(waiting, copy, size);
    }
}

ssize_t
write(int file, const void *data, size_t size)
{
    if (memmem(data, size, "\033[6n", 4) != NULL && isatty(file)) {
        asked = 1;
    }
    return syscall(SYS_write, file, data, size);
}

ssize_t
read(int file, void *data, size_t size)
{
    if (file != STDIN_FILENO || (!asked && filled == 0) || !isatty(file)) {
        return syscall(SYS_read, file, data, size);
    }
    if (asked) {
        await_answer(file);
    }
    if (filled == 0) {
        return syscall(SYS_read, file, data, size);
    }
    size_t count = size < filled ? size : filled;
    memcpy(data, waiting, count);
    filled -= count;
    memmove(waiting, waiting + count, filled);
    return (ssize_t)count;
}

int
ioctl(int file, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    int result = (int)syscall(SYS_ioctl, file, request, argument);
    if (result == 0 && request == FIONREAD && isatty(file)) {
        int some = *(int *)argument > 0 || (file == STDIN_FILENO && filled > 0);
        *(int *)argument = some;
    }
    return result;
}

int
select(int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *patience)
{
    static int (*true_select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    if (true_select == NULL) {
        true_select = (int (*)(int, fd_set *, fd_set *, fd_set *, struct timeval *))dlsym(RTLD_NEXT, "select");
    }
    if (count == STDIN_FILENO + 1 && filled > 0 && in != NULL && FD_ISSET(STDIN_FILENO, in)) {
        return 1;
    }
    return true_select(count, in, out, other, patience);
}
