/*
 * Parity of locks between processes: POSIX, open file description and BSD locks.
 *
 * A second process does as it is told through a pipe and answers through
 * another, so the order of calls is the same each time.
 */
#include "parity.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct order {
	int command;	/* of fcntl, or 0 for flock */
	short type;	/* F_RDLCK, F_WRLCK, F_UNLCK, or an operation of flock */
	off_t start, length;
	int open;	/* how the file is opened anew first, or -1 */
};

struct answer {
	int result, error;
	short type;
	off_t start, length;
	int mine;	/* the lock found belongs to the other one of us */
};

static int to_other, from_other;
static pid_t other;

/* Carries out an order on the file that @fd holds. */
static struct answer obey(int *fd, const struct order *order, pid_t partner)
{
	struct flock lock = {
		.l_type = order->type, .l_whence = SEEK_SET,
		.l_start = order->start, .l_len = order->length,
	};
	struct answer answer = { 0 };

	if (order->open >= 0) {
		if (*fd >= 0)
			close(*fd);
		*fd = open("locked", order->open, 0644);
	}
	answer.result = order->command ? fcntl(*fd, order->command, &lock) :
		flock(*fd, order->type);
	answer.error = answer.result ? errno : 0;
	answer.type = lock.l_type;
	answer.start = lock.l_start;
	answer.length = lock.l_len;
	answer.mine = lock.l_pid == partner;
	return answer;
}

static void be_other(int orders, int answers, pid_t partner)
{
	struct order order;
	int fd = -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(orders, &order, sizeof(order)) == sizeof(order)) {
		struct answer answer = obey(&fd, &order, partner);

		if (write(answers, &answer, sizeof(answer)) !=
		    sizeof(answer))
			break;
	}
	_exit(0);
}

static void start_other(void)
{
	int orders[2], answers[2];
	pid_t partner = getpid();

	if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
		abort();
	other = fork();
	if (other == 0) {
		close(orders[1]);
		close(answers[0]);
		be_other(orders[0], answers[1], partner);
	}
	close(orders[0]);
	close(answers[1]);
	to_other = orders[1];
	from_other = answers[0];
}

static void end_other(void)
{
	close(to_other);
	waitpid(other, NULL, 0);
	close(from_other);
}

static void say_answer(const char *who, const struct order *order,
		       const struct answer *answer)
{
	say("%s: command %d type %d at %jd+%jd: %s, found %d at %jd+%jd%s", who,
	    order->command, order->type, (intmax_t)order->start,
	    (intmax_t)order->length,
	    answer->error ? strerrorname_np(answer->error) : "done",
	    answer->type, (intmax_t)answer->start, (intmax_t)answer->length,
	    order->command == F_GETLK && answer->type != F_UNLCK &&
	    answer->mine ? " of the other" : "");
}

static void other_does(struct order order)
{
	struct answer answer = { .error = EPIPE };

	if (write(to_other, &order, sizeof(order)) != sizeof(order) ||
	    read(from_other, &answer, sizeof(answer)) != sizeof(answer))
		say("the other one is gone");
	say_answer("other", &order, &answer);
}

static int my_fd;

static void i_do(struct order order)
{
	struct answer answer = obey(&my_fd, &order, other);

	say_answer("I", &order, &answer);
}

static void record_locks(int set, int get)
{
	my_fd = -1;
	make("locked", "some content to lock");
	start_other();
	i_do((struct order){ set, F_WRLCK, 0, 10, O_RDWR });
	other_does((struct order){ set, F_WRLCK, 5, 10, O_RDWR });
	other_does((struct order){ get, F_WRLCK, 5, 10, -1 });
	other_does((struct order){ get, F_RDLCK, 100, 10, -1 });
	other_does((struct order){ set, F_WRLCK, 10, 10, -1 });
	i_do((struct order){ get, F_WRLCK, 0, 0, -1 });
	i_do((struct order){ set, F_UNLCK, 3, 4, -1 });
	other_does((struct order){ set, F_RDLCK, 3, 4, -1 });
	i_do((struct order){ set, F_RDLCK, 3, 4, -1 });
	i_do((struct order){ set, F_WRLCK, 3, 4, -1 });
	other_does((struct order){ get, F_WRLCK, 0, 0, -1 });
	/* To the end of all files, and what can't be. */
	i_do((struct order){ set, F_WRLCK, 1000, 0, -1 });
	other_does((struct order){ set, F_RDLCK, (off_t)1 << 50, 1, -1 });
	i_do((struct order){ set, F_RDLCK, -5, 1, -1 });
	i_do((struct order){ set, 77, 0, 1, -1 });
	/* A lock needs the right to do what it guards. */
	i_do((struct order){ set, F_WRLCK, 500, 1, O_RDONLY });
	i_do((struct order){ set, F_RDLCK, 500, 1, -1 });
	/* The close at reopening let go of all of mine. */
	other_does((struct order){ set, F_WRLCK, 1000, 0, -1 });
	i_do((struct order){ get, F_RDLCK, 0, 0, -1 });
	end_other();
	i_do((struct order){ get, F_WRLCK, 0, 0, -1 });
	close(my_fd);
}

static void posix_locks(void)
{
	record_locks(F_SETLK, F_GETLK);
}

static void description_locks(void)
{
	record_locks(F_OFD_SETLK, F_OFD_GETLK);
}

static void whole_file_locks(void)
{
	my_fd = -1;
	make("locked", "content");
	start_other();
	i_do((struct order){ 0, LOCK_EX | LOCK_NB, 0, 0, O_RDONLY });
	other_does((struct order){ 0, LOCK_SH | LOCK_NB, 0, 0, O_RDWR });
	i_do((struct order){ 0, LOCK_SH | LOCK_NB, 0, 0, -1 });
	other_does((struct order){ 0, LOCK_SH | LOCK_NB, 0, 0, -1 });
	other_does((struct order){ 0, LOCK_EX | LOCK_NB, 0, 0, -1 });
	i_do((struct order){ 0, LOCK_UN, 0, 0, -1 });
	other_does((struct order){ 0, LOCK_EX | LOCK_NB, 0, 0, -1 });
	/* The two kinds of locks know nothing of each other. */
	i_do((struct order){ F_SETLK, F_WRLCK, 0, 0, O_RDWR });
	i_do((struct order){ 0, LOCK_EX | LOCK_NB, 0, 0, -1 });
	end_other();
	i_do((struct order){ 0, LOCK_EX | LOCK_NB, 0, 0, -1 });
	close(my_fd);
	TRY(flock(open(".", O_RDONLY), LOCK_EX | LOCK_NB));
	TRY(flock(open("locked", O_PATH), LOCK_EX | LOCK_NB));
}

/* A lock goes with its file, whatever the name. */
static void locks_follow_the_file(void)
{
	my_fd = -1;
	make("locked", "content");
	start_other();
	i_do((struct order){ F_SETLK, F_WRLCK, 0, 0, O_RDWR });
	other_does((struct order){ F_SETLK, F_WRLCK, 0, 0, O_RDWR });
	TRY(link("locked", "second"));
	TRY(rename("locked", "third"));
	TRY(rename("second", "locked"));
	other_does((struct order){ F_SETLK, F_WRLCK, 0, 0, O_RDWR });
	TRY(unlink("locked"));
	other_does((struct order){ F_SETLK, F_WRLCK, 0, 0, -1 });
	other_does((struct order){ F_SETLK, F_WRLCK, 0, 0, O_RDWR | O_CREAT });
	TRY(unlink("third"));
	i_do((struct order){ F_SETLK, F_UNLCK, 0, 0, -1 });
	end_other();
	close(my_fd);
}

/* Waits for the lock that its parent holds, and says in a file that it came. */
static void wait_for_lock(int command, int held, int ready)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open("locked", O_RDWR);
	int result;

	/* Inherited: while it is open here, a lock of the description holds. */
	close(held);
	if (write(ready, "r", 1) != 1)
		_exit(2);
	result = command ? fcntl(fd, command, &lock) : flock(fd, LOCK_EX);
	if (result || pwrite(fd, "waiter", 6, 0) != 6)
		_exit(1);
	_exit(0);
}

static void waiting_for_a_lock(void)
{
	static const int commands[] = { F_SETLKW, F_OFD_SETLKW, 0 };

	for (size_t i = 0; i < 3; i++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		int fd, ready[2], status = -1;
		char byte;
		pid_t child;

		make("locked", "holder");
		fd = open("locked", O_RDWR);
		TRY(commands[i] ? fcntl(fd, F_SETLK, &lock) :
		    flock(fd, LOCK_EX));
		if (pipe2(ready, O_CLOEXEC))
			abort();
		child = fork();
		if (child == 0)
			wait_for_lock(commands[i], fd, ready[1]);
		TRY(read(ready[0], &byte, 1));
		/* Whenever the child comes to the lock, it must not get past
		 * it before this write. */
		TRY(pwrite(fd, "HOLDER", 6, 0));
		close(fd);
		waitpid(child, &status, 0);
		say("status %d", status);
		say_content("locked");
	}
}

static const struct parity_case cases[] = {
	{ "POSIX locks hold between processes", posix_locks },
	{ "open file description locks hold", description_locks },
	{ "BSD locks hold between processes", whole_file_locks },
	{ "locks follow the file", locks_follow_the_file },
	{ "a lock is waited for", waiting_for_a_lock },
};

int main(void)
{
	return parity_main(cases, sizeof(cases) / sizeof(*cases));
}
