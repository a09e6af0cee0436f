// User-mode Linux keeps 2,696 bytes of a process's vector registers, and Linux takes them back only whole. A CPU with AMX has
// 11,008 bytes of them, so there every process of the guest dies at once ("ptrace set fp regs failed, errno = 14"). Preloaded,
// this hands user-mode Linux the part it knows and adds the rest, which is empty: no process of the guest can ask for AMX.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, XSTATE = 0x202 };

// Not on the stack: that of user-mode Linux is small.
static char area[65536];
static size_t whole;

static long get(long pid, struct iovec *wanted) {
	struct iovec all = {area, sizeof area};
	long result = syscall(SYS_ptrace, GETREGSET, pid, XSTATE, &all);
	if (result < 0) return result;
	whole = all.iov_len;
	if (wanted->iov_len > whole) wanted->iov_len = whole;
	memcpy(wanted->iov_base, area, wanted->iov_len);
	return result;
}

static long set(long pid, const struct iovec *given) {
	struct iovec all = {area, whole};
	if (given->iov_len >= whole) return syscall(SYS_ptrace, SETREGSET, pid, XSTATE, given);
	memcpy(area, given->iov_base, given->iov_len);
	memset(area + given->iov_len, 0, whole - given->iov_len);
	return syscall(SYS_ptrace, SETREGSET, pid, XSTATE, &all);
}

long ptrace(int request, ...) {
	va_list arguments;
	va_start(arguments, request);
	long pid = va_arg(arguments, int);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (address == (void *)XSTATE && request == GETREGSET) return get(pid, data);
	if (address == (void *)XSTATE && request == SETREGSET) return set(pid, data);
	if (request < PEEK_FIRST || request > PEEK_LAST) return syscall(SYS_ptrace, request, pid, address, data);
	// The C library's function returns what it peeked, Linux stores it.
	long value = 0;
	if (syscall(SYS_ptrace, request, pid, address, &value) < 0) return -1;
	errno = 0;
	return value;
}
