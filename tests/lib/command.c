/*
 * Runs programs for tests: child processes with a deadline, their output kept.
 *
 * A child is watched by its pidfd beside its two pipes, so its end is noticed
 * even when a process that it left behind (a daemon) still holds a pipe open.
 */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DEFAULT_SECONDS 120
#define WORDS_MAX 64

struct pipe_text {
	int fd;			/* the end that we read, -1 when it is over */
	char *text;		/* NUL-terminated */
	size_t length, room;
};

double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

bool eventually(double seconds, bool (*done)(void *data), void *data)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	double deadline = seconds_now() + seconds;

	while (!done(data)) {
		if (seconds_now() > deadline)
			return done(data);
		nanosleep(&pause, NULL);
	}
	return true;
}

/* Reads what the pipe holds now; closes it at its end. */
static void pipe_drain(struct pipe_text *pipe)
{
	while (pipe->fd >= 0) {
		ssize_t got;

		if (pipe->room - pipe->length < 4096) {
			pipe->room = pipe->room * 2 + 8192;
			pipe->text = realloc(pipe->text, pipe->room);
			if (!pipe->text)
				abort();
		}
		got = read(pipe->fd, pipe->text + pipe->length,
			   pipe->room - pipe->length - 1);
		if (got > 0) {
			pipe->length += (size_t)got;
		} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
			close(pipe->fd);
			pipe->fd = -1;
		} else if (errno == EAGAIN) {
			break;
		}
	}
	pipe->text[pipe->length] = '\0';
}

static void become_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count)
{
	if (setgroups(count, groups) || setresgid(gid, gid, gid) ||
	    setresuid(uid, uid, uid)) {
		perror("becoming another user");
		_exit(126);
	}
}

/* What the child does between fork and exec; never returns. */
static void become_program(const struct command_options *options,
			   const char *const *argv, int out, int err)
{
	const char *const *entry;
	int null;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);

	unsetenv("PYTHONDONTWRITEBYTECODE");
	unsetenv("PYTHONPYCACHEPREFIX");
	for (entry = options->environment; entry && *entry; entry++) {
		char *copy = strdup(*entry);

		if (copy && strchr(copy, '='))
			putenv(copy);
		else if (copy)
			unsetenv(copy);
	}
	if (options->uid || options->gid)
		become_user(options->uid, options->gid, NULL, 0);
	if (options->directory && chdir(options->directory)) {
		perror(options->directory);
		_exit(126);
	}
	/* The words are only read: exec's prototype predates const. */
	execvp(argv[0], (char **)(uintptr_t)argv);
	perror(argv[0]);
	_exit(127);
}

/* Collects output until the child ends or the deadline passes. */
static bool collect(int pidfd, struct pipe_text *out, struct pipe_text *err,
		    double deadline)
{
	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = out->fd, .events = POLLIN },
			{ .fd = err->fd, .events = POLLIN },
		};
		double left = deadline - seconds_now();

		if (left <= 0)
			return false;
		if (poll(fds, 3, (int)(left * 1000) + 1) < 0 && errno != EINTR)
			return false;
		pipe_drain(out);
		pipe_drain(err);
		if (fds[0].revents) {
			/* What came between the poll and the end. */
			pipe_drain(out);
			pipe_drain(err);
			return true;
		}
	}
}

struct command command_run(const struct command_options *options,
			   const char *const *argv)
{
	static const struct command_options defaults;
	struct pipe_text out = { .fd = -1 }, err = { .fd = -1 };
	struct command command = { .status = -1 };
	int out_pipe[2], err_pipe[2], pidfd, status = 0;
	bool in_time;
	double seconds;
	pid_t child;

	if (!options)
		options = &defaults;
	seconds = options->seconds ? options->seconds : DEFAULT_SECONDS;
	if (pipe2(out_pipe, O_CLOEXEC) || pipe2(err_pipe, O_CLOEXEC))
		abort();
	fflush(NULL);
	child = fork();
	if (child < 0)
		abort();
	if (child == 0)
		become_program(options, argv, out_pipe[1], err_pipe[1]);
	setpgid(child, child);
	close(out_pipe[1]);
	close(err_pipe[1]);
	fcntl(out_pipe[0], F_SETFL, O_NONBLOCK);
	fcntl(err_pipe[0], F_SETFL, O_NONBLOCK);
	out.fd = out_pipe[0];
	err.fd = err_pipe[0];
	pipe_drain(&out);
	pipe_drain(&err);

	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0)
		abort();
	in_time = collect(pidfd, &out, &err, seconds_now() + seconds);
	/* Unreaped, the child keeps its group's number from being reused. */
	kill(-child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	close(pidfd);
	if (out.fd >= 0)
		close(out.fd);
	if (err.fd >= 0)
		close(err.fd);

	if (in_time)
		command.status = WIFEXITED(status) ? WEXITSTATUS(status) :
			128 + WTERMSIG(status);
	command.out = out.text;
	command.err = err.text;
	return command;
}

void command_free(struct command *command)
{
	free(command->out);
	free(command->err);
	command->out = command->err = NULL;
}

char *command_output(const char *directory, const char *word, ...)
{
	struct command_options options = { .directory = directory };
	const char *argv[WORDS_MAX + 1] = { word };
	struct command command;
	va_list words;
	int i;

	va_start(words, word);
	for (i = 1; i <= WORDS_MAX; i++) {
		argv[i] = va_arg(words, const char *);
		if (!argv[i])
			break;
	}
	va_end(words);
	assert_true(i <= WORDS_MAX);

	command = command_run(&options, argv);
	if (command.status != 0) {
		print_error("'%s' ended with %d\n%s%s\n", word, command.status,
			    command.out, command.err);
		command_free(&command);
		fail();
	}
	free(command.err);
	return command.out;
}

int as_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count,
	    int (*call)(void *data), void *data)
{
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (child < 0)
		abort();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		become_user(uid, gid, groups, count);
		_exit(call(data));
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			abort();
	return WIFEXITED(status) ? WEXITSTATUS(status) :
		128 + WTERMSIG(status);
}

int forbid_unshare(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}
