/*
 * A mount to test: scratch directories, a daemon in the foreground, its log.
 *
 * Every fixture is on a list, which an exit handler destroys: a failed assertion
 * jumps out of a test and may leave its fixture behind.  The daemon also gets a
 * SIGTERM when the test program dies, so a killed test leaves no mount either.
 *
 * Whatever goes wrong in tear-down is noted and the clean-up goes on; the test
 * fails at the very end, with all notes and the daemon's log.  cmocka 1.1.5
 * prints a failed group teardown and still reports success, so the exit handler
 * also turns the exit status into 1 after any failure that was noted here.
 */
#include "fixture.h"
#include "everybody.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#define READY_SECONDS 10
/* A leak check at the daemon's end takes its time on a busy machine. */
#define END_SECONDS 30
#define BUSY_SECONDS 2

/* What a fixture holds beyond what its users see. */
struct owned {
	struct fixture fixture;		/* first, so that one is the other */
	struct owned *next;
	int notify;			/* socket on which readiness comes */
	bool opened_device;
	char *notes;			/* what went wrong, a line each */
	size_t notes_size;
	FILE *noting;
};

static struct owned *fixtures;
static bool failed_once;
/* The test's process: its children inherit the list and the exit handler. */
static pid_t test_pid;

/* ------------------------------------------------------------------ notes */

static void note(struct owned *owned, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note(struct owned *owned, const char *format, ...)
{
	va_list args;

	if (!owned->noting)
		owned->noting = open_memstream(&owned->notes,
					       &owned->notes_size);
	va_start(args, format);
	vfprintf(owned->noting, format, args);
	va_end(args);
	fputc('\n', owned->noting);
}

/* Returns all notes so far, or NULL; the caller frees them. */
static char *take_notes(struct owned *owned)
{
	char *notes;

	if (!owned->noting)
		return NULL;
	fclose(owned->noting);
	notes = owned->notes;
	owned->noting = NULL;
	owned->notes = NULL;
	return notes;
}

static void fail_with_notes(char *notes)
{
	if (!notes)
		return;
	failed_once = true;
	print_error("%s", notes);
	free(notes);
	fail();
}

/* -------------------------------------------------------------- the device */

/*
 * A plain user's mount needs a /dev/fuse that is open to all, and some machines
 * keep it closed.  The first of all test programs that needs it opens it and
 * writes the mode it had into a file; the last one restores it.  A shared lock
 * counts the users, so one that was killed counts no longer.
 */
#define DEVICE "/dev/fuse"
#define DEVICE_STATE "/tmp/.pycachefs-test-device"
#define DEVICE_USERS "/tmp/.pycachefs-test-device-users"

static int device_users = -1;
static unsigned device_uses;

static int open_lock(const char *path)
{
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void fixture_open_device(void)
{
	int state = open_lock(DEVICE_STATE);
	char text[16] = "";
	struct stat st;

	if (device_uses++ > 0) {
		close(state);
		return;
	}
	device_users = open_lock(DEVICE_USERS);
	if (state < 0 || device_users < 0 || flock(state, LOCK_EX) ||
	    flock(device_users, LOCK_SH) || stat(DEVICE, &st))
		fail_msg("locking '%s': %s", DEVICE, strerror(errno));
	if (pread(state, text, sizeof(text) - 1, 0) == 0) {
		snprintf(text, sizeof(text), "%o", st.st_mode & 07777);
		if (pwrite(state, text, strlen(text), 0) < 0)
			fail_msg("writing '%s': %s", DEVICE_STATE,
				 strerror(errno));
	}
	if (chmod(DEVICE, 0666))
		fail_msg("chmod '%s': %s", DEVICE, strerror(errno));
	close(state);
}

void fixture_restore_device(void)
{
	char text[16] = "";
	int state;

	if (--device_uses > 0)
		return;
	state = open_lock(DEVICE_STATE);
	flock(state, LOCK_EX);
	flock(device_users, LOCK_UN);
	if (flock(device_users, LOCK_EX | LOCK_NB) == 0 &&
	    pread(state, text, sizeof(text) - 1, 0) > 0) {
		chmod(DEVICE, (mode_t)strtoul(text, NULL, 8));
		if (ftruncate(state, 0))
			perror(DEVICE_STATE);
	}
	close(device_users);
	close(state);
	device_users = -1;
}

/* -------------------------------------------------------------- mount table */

static void unescape(char *text)
{
	char *to = text;

	for (; *text; to++) {
		if (text[0] == '\\' && text[1] && text[2] && text[3]) {
			*to = (char)((text[1] - '0') << 6 |
				     (text[2] - '0') << 3 | (text[3] - '0'));
			text += 4;
		} else {
			*to = *text++;
		}
	}
	*to = '\0';
}

/*
 * Calls @each for every mount at @place or below it, the latest first, until it
 * returns true; @fuse only: passes over filesystems that are not FUSE.
 */
static bool each_mount(const char *place, bool fuse,
		       bool (*each)(const char *mountpoint))
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, **places = NULL;
	size_t room = 0, count = 0, length = strlen(place);
	bool found = false;

	while (table && getline(&line, &room, table) > 0) {
		char at[4097], type[256];

		if (sscanf(line, "%*s %*s %*s %*s %4096s", at) != 1 ||
		    !strstr(line, " - ") ||
		    sscanf(strstr(line, " - "), " - %255s", type) != 1)
			continue;
		unescape(at);
		if (strncmp(at, place, length) ||
		    (at[length] != '\0' && at[length] != '/') ||
		    (fuse && strncmp(type, "fuse", 4)))
			continue;
		places = realloc(places, (count + 1) * sizeof(*places));
		if (!places || !(places[count++] = strdup(at)))
			abort();
	}
	if (table)
		fclose(table);
	free(line);
	while (count > 0) {
		found = found || each(places[--count]);
		free(places[count]);
	}
	free(places);
	return found;
}

static bool is_there(const char *mountpoint)
{
	(void)mountpoint;
	return true;
}

static bool detach(const char *mountpoint)
{
	umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
	return false;
}

static bool is_mounted(const struct fixture *fixture)
{
	return each_mount(fixture->mountpoint, true, is_there);
}

/* --------------------------------------------------------------- the daemon */

const char *fixture_program(void)
{
	const char *program = getenv("PYCACHEFS");

	if (!program)
		fail_msg("the environment's PYCACHEFS names no program");
	return program;
}

/* What the daemon's process does between fork and exec; never returns. */
static void become_daemon(struct owned *owned)
{
	const struct fixture *fixture = &owned->fixture;
	const struct fixture_options *options = &fixture->options;
	int log = open(fixture->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
		       0644);
	struct rlimit limit = { options->descriptors, options->descriptors };
	const char *argv[8];
	char notify[400];
	int n = 0;

	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (options->descriptors && setrlimit(RLIMIT_NOFILE, &limit)) {
		perror("RLIMIT_NOFILE");
		_exit(126);
	}
	if ((options->uid || options->gid) &&
	    (setgroups(0, NULL) ||
	     setresgid(options->gid, options->gid, options->gid) ||
	     setresuid(options->uid, options->uid, options->uid))) {
		perror("becoming the daemon's user");
		_exit(126);
	}
	/* After the change of user, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);

	snprintf(notify, sizeof(notify), "%s/notify", fixture->top);
	setenv("NOTIFY_SOCKET", notify, 1);
	setenv("UBSAN_OPTIONS", "print_stacktrace=1", 0);
	argv[n++] = fixture_program();
	argv[n++] = "-f";
	if (options->options) {
		argv[n++] = "-o";
		argv[n++] = options->options;
	}
	argv[n++] = fixture->source;
	if (!options->in_place)
		argv[n++] = fixture->mountpoint;
	argv[n] = NULL;
	execv(argv[0], (char **)(uintptr_t)argv);
	perror(argv[0]);
	_exit(127);
}

static int milliseconds_until(const struct timespec *deadline)
{
	struct timespec now;
	intmax_t left;

	clock_gettime(CLOCK_MONOTONIC, &now);
	left = ((intmax_t)deadline->tv_sec - now.tv_sec) * 1000 +
		(deadline->tv_nsec - now.tv_nsec) / 1000000;
	return left > 0 ? (int)left : 0;
}

static struct timespec deadline_in(int seconds)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += seconds;
	return deadline;
}

/* Waits for READY=1; false when the daemon ends or the time does. */
static bool wait_ready(struct owned *owned, int pidfd)
{
	struct timespec deadline = deadline_in(READY_SECONDS);
	char text[4096];

	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = owned->notify, .events = POLLIN },
			{ .fd = pidfd, .events = POLLIN },
		};
		int left = milliseconds_until(&deadline);
		ssize_t got;

		if (poll(fds, 2, left) < 0 && errno != EINTR)
			abort();
		while ((got = recv(owned->notify, text, sizeof(text) - 1,
				   MSG_DONTWAIT)) > 0) {
			text[got] = '\0';
			if (!strncmp(text, "READY=1", 7) ||
			    strstr(text, "\nREADY=1"))
				return true;
		}
		if (fds[1].revents) {
			note(owned, "the daemon ended before it was ready");
			return false;
		}
		if (left == 0) {
			note(owned, "the daemon was not ready after %d s",
			     READY_SECONDS);
			return false;
		}
	}
}

/* Reaps the daemon; one that does not end in time is killed. */
static void wait_end(struct owned *owned)
{
	struct fixture *fixture = &owned->fixture;
	struct timespec deadline = deadline_in(END_SECONDS);
	struct pollfd fd = { .events = POLLIN };
	int status;

	if (fixture->daemon < 0)
		return;
	fd.fd = (int)syscall(SYS_pidfd_open, fixture->daemon, 0);
	if (fd.fd >= 0) {
		while (poll(&fd, 1, milliseconds_until(&deadline)) < 0 &&
		       errno == EINTR)
			;
		close(fd.fd);
		if (!fd.revents) {
			note(owned, "the daemon did not end in %d s",
			     END_SECONDS);
			kill(fixture->daemon, SIGKILL);
		}
	}
	if (waitpid(fixture->daemon, &status, 0) == fixture->daemon) {
		if (WIFSIGNALED(status))
			note(owned, "the daemon was killed by signal %d",
			     WTERMSIG(status));
		else if (WEXITSTATUS(status) != 0)
			note(owned, "the daemon exited with %d",
			     WEXITSTATUS(status));
	}
	fixture->daemon = -1;
}

/* ------------------------------------------------------------------ the log */

static bool is_expected(const char *line, const char *expected)
{
	char *words = strdup(expected ? expected : ""), *rest = words, *word;
	bool found = false;

	while (!found && (word = strsep(&rest, "|")))
		found = *word && strstr(line, word);
	free(words);
	return found;
}

/* Notes each line of the log that must not be there, and then all of it. */
static void scan_log(struct owned *owned, bool print)
{
	static const char *const bad[] = {
		"pycachefs: error:", "pycachefs: warning:", "runtime error:",
		"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer",
		"UndefinedBehaviorSanitizer", "Assertion",
	};
	const struct fixture *fixture = &owned->fixture;
	FILE *log = fopen(fixture->log, "re");
	char *line = NULL;
	size_t room = 0;

	if (!log)
		return;
	while (getline(&line, &room, log) > 0) {
		bool found = false;

		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
			found = found || strstr(line, bad[i]);
		if (found && !is_expected(line, fixture->options.expected_log))
			note(owned, "in the log: %s", line);
	}
	if (print || owned->noting) {
		rewind(log);
		note(owned, "---- the log '%s' ----", fixture->log);
		while (getline(&line, &room, log) > 0) {
			line[strcspn(line, "\n")] = '\0';
			note(owned, "%s", line);
		}
		note(owned, "---- end of the log ----");
	}
	free(line);
	fclose(log);
}

/* ------------------------------------------------------- mounting and back */

/*
 * A test that never reads its mount proves nothing: its root must lie on another
 * device than the source.  An empty statx mask is answered without the daemon,
 * also for a user whom the mount does not let in.
 */
static bool is_other_device(int mount, int source)
{
	struct statx above, below;

	if (statx(mount, "", AT_EMPTY_PATH, 0, &above) ||
	    statx(source, "", AT_EMPTY_PATH, 0, &below))
		return false;
	return above.stx_dev_major != below.stx_dev_major ||
		above.stx_dev_minor != below.stx_dev_minor;
}

/* Returns whether it is mounted; else there are notes. */
static bool mount_it(struct owned *owned)
{
	struct fixture *fixture = &owned->fixture;
	bool ready = false;
	int pidfd;

	/* Found missing here rather than in the child. */
	fixture_program();
	fflush(NULL);
	fixture->daemon = fork();
	if (fixture->daemon < 0)
		abort();
	if (fixture->daemon == 0)
		become_daemon(owned);
	pidfd = (int)syscall(SYS_pidfd_open, fixture->daemon, 0);
	if (pidfd < 0)
		abort();
	ready = wait_ready(owned, pidfd);
	close(pidfd);
	if (!ready)
		return false;
	fixture->mount_fd = open(fixture->mountpoint, O_PATH | O_DIRECTORY |
				 O_CLOEXEC);
	if (fixture->mount_fd < 0 ||
	    !is_other_device(fixture->mount_fd, fixture->source_fd)) {
		note(owned, "ready, but nothing is mounted at '%s'",
		     fixture->mountpoint);
		return false;
	}
	return true;
}

static int try_unmount(const char *mountpoint)
{
	char command[400];

	if (geteuid() == 0)
		return umount2(mountpoint, UMOUNT_NOFOLLOW) ? -errno : 0;
	snprintf(command, sizeof(command), "fusermount3 -u -- '%s' 2>&1",
		 mountpoint);
	return system(command) == 0 ? 0 : -EBUSY;
}

/* Takes the mount away and lets the daemon end; leaves notes. */
static void unmount_it(struct owned *owned)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	struct timespec deadline = deadline_in(BUSY_SECONDS);
	struct fixture *fixture = &owned->fixture;
	bool mounted = is_mounted(fixture);

	if (fixture->mount_fd >= 0)
		close(fixture->mount_fd);
	fixture->mount_fd = -1;
	while (mounted) {
		int error = try_unmount(fixture->mountpoint);

		if (!error)
			break;
		/* A killed process may still be letting go of its files. */
		if (error != -EBUSY || !milliseconds_until(&deadline)) {
			note(owned, "unmounting '%s': %s", fixture->mountpoint,
			     strerror(-error));
			each_mount(fixture->mountpoint, true, detach);
			/* Whoever keeps it busy keeps the daemon, too. */
			if (fixture->daemon >= 0)
				kill(fixture->daemon, SIGTERM);
			break;
		}
		nanosleep(&pause, NULL);
	}
	wait_end(owned);
	if (is_mounted(fixture)) {
		note(owned, "a mount is left at '%s'", fixture->mountpoint);
		each_mount(fixture->mountpoint, true, detach);
	}
}

/* ---------------------------------------------------------------- fixtures */

/* Tests of other users may start it too. */
static bool offer_program(const char *program)
{
	char offered[PATH_MAX];

	return for_everybody(program, offered) && setenv("PYCACHEFS", offered, 1) == 0;
}

int fixture_possible(void)
{
	const char *program = getenv("PYCACHEFS"), *why = NULL;
	int fd;

	if (!program || access(program, X_OK)) {
		fprintf(stderr, "PYCACHEFS names no program\n");
		return 1;
	}
	fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		why = strerror(errno);
	} else {
		close(fd);
		/* Nothing is mounted there: EINVAL for who may unmount. */
		if (geteuid() == 0 &&
		    umount2("/proc/self/fd", 0) && errno == EPERM)
			why = "no right to mount";
		if (geteuid() != 0 && system("command -v fusermount3 >/dev/null"))
			why = "no fusermount3";
	}
	if (!why)
		return offer_program(program) ? 0 : 1;
	fprintf(stderr, "cannot mount here: ");
	return cannot_run(why);
}

json_t *fixture_status(const char *mountpoint)
{
	char text[65536];
	ssize_t length = getxattr(mountpoint, "user.pycachefs.status", text, sizeof(text));

	return length > 0 ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
}

int cannot_run(const char *why)
{
	fprintf(stderr, "%s\n", why);
	return getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
}

static int listen_notify(const char *top)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (strlen(top) + sizeof("/notify") > sizeof(address.sun_path)) {
		close(fd);
		errno = ENAMETOOLONG;
		return -1;
	}
	stpcpy(stpcpy(address.sun_path, top), "/notify");
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    chmod(address.sun_path, 0666))
		return -1;
	return fd;
}

static int make_directory(const struct fixture_options *options,
			  const char *path)
{
	if (mkdir(path, 0755) || chmod(path, 0755))
		return -1;
	if (options->uid || options->gid)
		return chown(path, options->uid, options->gid);
	return 0;
}

/* Makes the directories and the socket; returns what failed, or NULL. */
static const char *prepare(struct owned *owned)
{
	struct fixture *fixture = &owned->fixture;
	const struct fixture_options *options = &fixture->options;
	const char *scratch = options->scratch ? options->scratch :
		getenv("TMPDIR");
	int length;

	length = snprintf(fixture->top, sizeof(fixture->top),
			  "%s/pycachefs-test-XXXXXX",
			  scratch && *scratch ? scratch : "/tmp");
	if (length >= (int)sizeof(fixture->top) || !mkdtemp(fixture->top)) {
		fixture->top[0] = '\0';
		return "making a scratch directory";
	}
	if (chmod(fixture->top, 0755))
		return "chmod";
	snprintf(fixture->source, sizeof(fixture->source), "%s",
		 options->source ? options->source : in(fixture->top, "source"));
	snprintf(fixture->mountpoint, sizeof(fixture->mountpoint), "%s",
		 options->in_place ? fixture->source : in(fixture->top, "mnt"));
	stpcpy(stpcpy(fixture->plain, fixture->top), "/plain");
	stpcpy(stpcpy(fixture->log, fixture->top), "/log");

	if (!options->source && make_directory(options, fixture->source))
		return "making the source";
	if (!options->in_place && make_directory(options, fixture->mountpoint))
		return "making the mountpoint";
	if (make_directory(options, fixture->plain))
		return "making the plain directory";
	if (options->prepare && options->prepare(fixture->source, options->data))
		return "preparing the source";
	fixture->source_fd = open(fixture->source,
				  O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fixture->source_fd < 0)
		return "opening the source";
	owned->notify = listen_notify(fixture->top);
	if (owned->notify < 0)
		return "making the notification socket";
	return NULL;
}

/* Undoes everything and frees the fixture; returns the notes, or NULL. */
static char *destroy(struct owned *owned)
{
	struct fixture *fixture = &owned->fixture;
	struct owned **link;
	char *notes;

	for (link = &fixtures; *link; link = &(*link)->next) {
		if (*link == owned) {
			*link = owned->next;
			break;
		}
	}
	if (fixture->daemon >= 0 || fixture->mount_fd >= 0) {
		unmount_it(owned);
		scan_log(owned, false);
	}
	if (fixture->source_fd >= 0)
		close(fixture->source_fd);
	if (owned->notify >= 0)
		close(owned->notify);
	if (owned->opened_device)
		fixture_restore_device();
	if (fixture->top[0]) {
		/* Mounts that the test itself made in there. */
		each_mount(fixture->top, false, detach);
		tree_remove(fixture->top);
	}
	notes = take_notes(owned);
	free(owned);
	return notes;
}

/* Destroys what failed tests left behind and sets the exit status right. */
static void destroy_all(void)
{
	struct owned *owned = fixtures, *next;

	if (getpid() != test_pid)
		return;
	for (; owned; owned = next) {
		char *notes;

		next = owned->next;
		notes = destroy(owned);
		if (notes) {
			fputs(notes, stderr);
			free(notes);
			failed_once = true;
		}
	}
	if (failed_once) {
		fflush(NULL);
		_exit(1);
	}
}

/* Mounts, or takes back what there is of it and leaves notes. */
static bool start(struct owned *owned)
{
	if (mount_it(owned))
		return true;
	if (owned->fixture.daemon >= 0)
		kill(owned->fixture.daemon, SIGTERM);
	unmount_it(owned);
	scan_log(owned, true);
	return false;
}

struct fixture *fixture_create(const struct fixture_options *options)
{
	struct owned *owned = calloc(1, sizeof(*owned));
	const char *failed;

	if (!owned)
		abort();
	if (!test_pid) {
		test_pid = getpid();
		atexit(destroy_all);
	}
	if (options)
		owned->fixture.options = *options;
	owned->notify = -1;
	owned->fixture.source_fd = -1;
	owned->fixture.mount_fd = -1;
	owned->fixture.daemon = -1;
	owned->next = fixtures;
	fixtures = owned;

	failed = prepare(owned);
	if (failed) {
		note(owned, "%s: %s", failed, strerror(errno));
		fail_with_notes(destroy(owned));
	}
	if (geteuid() == 0 && owned->fixture.options.uid) {
		fixture_open_device();
		owned->opened_device = true;
	}
	if (!start(owned))
		fail_with_notes(destroy(owned));
	return &owned->fixture;
}

void fixture_mount(struct fixture *fixture)
{
	struct owned *owned = (struct owned *)fixture;

	if (!start(owned))
		fail_with_notes(take_notes(owned));
}

void fixture_unmount(struct fixture *fixture)
{
	struct owned *owned = (struct owned *)fixture;

	unmount_it(owned);
	scan_log(owned, false);
	fail_with_notes(take_notes(owned));
}

void fixture_destroy(struct fixture *fixture)
{
	if (fixture)
		fail_with_notes(destroy((struct owned *)fixture));
}

const char *in(const char *dir, const char *name)
{
	static char ring[16][8192];
	static unsigned next;
	char *path = ring[next++ % 16];

	snprintf(path, sizeof(ring[0]), "%s/%s", dir, name);
	return path;
}

/* A shell's background jobs ignore SIGINT, and so would the daemons of a test. */
__attribute__((constructor)) static void take_signals(void)
{
	signal(SIGINT, SIG_DFL);
}
