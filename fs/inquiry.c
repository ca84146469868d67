/*
 * Questions that may never be answered.  See inquiry.h.
 */
#include "inquiry.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "util.h"

static int write_all(int fd, const char *text)
{
	for (size_t length = strlen(text); length > 0; ) {
		ssize_t written = write(fd, text, length);

		if (written < 0)
			return -errno;
		text += written;
		length -= (size_t)written;
	}
	return 0;
}

/* The child.  Its exit status is the errno. */
static _Noreturn void answer(pid_t parent, int pipe,
			     int (*ask)(const void *data, char **ret), const void *data)
{
	char *text;
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Before that it was not heard of. */
	if (getppid() != parent)
		_exit(ESRCH);
	/* The other end has the lower number, so there is one. */
	close_range(0, (unsigned)pipe - 1, 0);
	close_range((unsigned)pipe + 1, ~0U, 0);
	err = ask(data, &text);
	if (!err)
		err = write_all(pipe, text);
	_exit(-err);
}

int inquiry_begin(struct inquiry *ret, int (*ask)(const void *data, char **ret),
		  const void *data)
{
	const pid_t parent = getpid();
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* Ignored, as our caller may have left it, it would take the child's exit status. */
	signal(SIGCHLD, SIG_DFL);
	ret->pipe = ends[0];
	ret->child = fork();
	err = ret->child < 0 ? -errno : 0;
	if (ret->child == 0)
		answer(parent, ends[1], ask, data);
	close(ends[1]);
	if (err)
		close(ends[0]);
	return err;
}

/* Waits for something to read, or for the end of it. */
static int wait_word(int pipe, uint64_t due)
{
	struct pollfd word = { .fd = pipe, .events = POLLIN };
	uint64_t now;
	int count;

	do {
		now = milliseconds();
		count = poll(&word, 1, due > now ? (int)(due - now) : 0);
	} while (count < 0 && errno == EINTR);
	return count < 0 ? -errno : count ? 0 : -ETIMEDOUT;
}

static int read_all(int pipe, uint64_t due, FILE *out)
{
	char part[4096];
	ssize_t length;
	int err;

	do {
		err = wait_word(pipe, due);
		if (err)
			return err;
		length = read(pipe, part, sizeof(part));
		if (length < 0)
			return -errno;
		if (fwrite(part, 1, (size_t)length, out) != (size_t)length)
			return -ENOMEM;
	} while (length > 0);
	return 0;
}

static int reap(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

int inquiry_end(struct inquiry *inquiry, uint64_t due, char **ret)
{
	_cleanup_close_ int pipe = inquiry->pipe;
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int err = out ? read_all(pipe, due, out) : -ENOMEM;

	if (out && fclose(out) != 0 && !err)
		err = -ENOMEM;
	/* It has ended, or is about to. */
	if (!err)
		err = reap(inquiry->child);
	if (err)
		return err;
	*ret = text;
	text = NULL;
	return 0;
}
