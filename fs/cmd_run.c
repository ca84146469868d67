/*
 * pycachefs run [-v] [-o OPT,...] [--store DIR] [--source DIR]...
 *               [--] COMMAND [ARG...]
 *
 * This process becomes COMMAND, as that of env(1) does: so its process id, terminal,
 * signals and exit status are COMMAND's without anybody to hand them on, and to kill
 * one is to kill the other.  Before that it forks a daemon for each source, enters a
 * mount namespace and mounts there.
 *
 * The daemons stay outside: where they live the source was never covered, and
 * nothing of them keeps the namespace.  It goes with the last process in it, the
 * kernel unmounts what was mounted there, and reading /dev/fuse then tells the
 * daemons that it is over.  No count is kept of processes, and nobody waits.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "checks.h"
#include "cmd.h"
#include "detach.h"
#include "handover.h"
#include "log.h"
#include "namespace.h"
#include "opts.h"
#include "paths.h"
#include "session.h"
#include "text.h"
#include "usage.h"
#include "util.h"

enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct place {
	char *path;			/* of the source; owned */
	struct handover handover;	/* to its daemon, until that is ready */
	struct fuse_session *fuse;	/* its mount; owned */
};

struct run {
	struct opts opts;		/* for each place in turn: see aim() */
	struct place *places;		/* owned */
	size_t count;
	char **command;
	char *store;			/* owned; a word for -o, of --store */
	char *cwd;			/* owned; NULL: has been removed */
	bool verbose, help;
	bool held[3];			/* standard descriptors that were closed */
};

/*
 * What is opened here must not land on a standard descriptor that the caller has
 * closed.  COMMAND finds it closed again.
 */
static void hold_standard(struct run *run)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			run->held[fd] = open("/dev/null", O_PATH | O_CLOEXEC) == fd;
}

static void release_standard(const struct run *run)
{
	for (int fd = 0; fd < 3; fd++)
		if (run->held[fd])
			close(fd);
}

/* --------------------------------------------------------- the command line */

static int add_place(struct run *run, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	run->places[run->count++] = (struct place){ .path = copy };
	return 0;
}

static void drop_place(struct run *run, size_t i)
{
	free(run->places[i].path);
	run->count--;
	memmove(&run->places[i], &run->places[i + 1],
		(run->count - i) * sizeof(*run->places));
}

/* What separates words of -o means nothing here. */
static int set_store(struct run *run, const char *path)
{
	_cleanup_free_ char *word = NULL;

	if (asprintf(&word, "store=%s", path) < 0)
		return -ENOMEM;
	free(run->store);
	run->store = NULL;
	return fuse_opt_add_opt_escaped(&run->store, word) < 0 ? -ENOMEM : 0;
}

/* Reads the words before COMMAND; those of -o are put into @words for opts_parse(). */
static int read_words(struct run *run, int argc, char **argv, char **words)
{
	static char dash_o[] = "-o";
	int key, count = 0, err = 0;

	words[count++] = argv[0];
	while (!err && (key = usage_next(&usage_run, argc, argv)) != -1) {
		switch (key) {
		case 's':
			err = add_place(run, optarg);
			break;
		case 'o':
			words[count++] = dash_o;
			words[count++] = optarg;
			break;
		case 'S':
			err = set_store(run, optarg);
			break;
		case 'v':
			run->verbose = true;
			break;
		case 'h':
			run->help = true;
			break;
		default:
			return -EINVAL;
		}
	}
	if (run->store) {
		words[count++] = dash_o;
		words[count++] = run->store;
	}
	run->command = argv + optind;
	return err;
}

static int parse(struct run *run, int argc, char **argv)
{
	_cleanup_free_ char **words = calloc(2 * (size_t)argc + 2, sizeof(*words));
	int err;

	run->places = calloc((size_t)argc + 1, sizeof(*run->places));
	if (!words || !run->places)
		return -ENOMEM;
	err = read_words(run, argc, argv, words);
	if (err)
		return err;
	for (argc = 0; words[argc]; argc++)
		;
	err = opts_parse(&run->opts, argc, words);
	if (err || run->help)
		return err;
	if (run->opts.auto_unmount) {
		complain("option 'auto_unmount': not for run, whose mount always goes "
			 "with its last user");
		return -EINVAL;
	}
	if (!*run->command) {
		usage_complain(&usage_run);
		return -EINVAL;
	}
	return run->count ? 0 : add_place(run, ".");
}

/* ------------------------------------------------------------------- places */

/* Whether another place covers this one as well; of equal ones the first stays. */
static bool is_covered(const struct run *run, size_t i)
{
	const char *path = run->places[i].path;

	for (size_t j = 0; j < run->count; j++)
		if (j != i && path_is_within(path, run->places[j].path) &&
		    (j < i || strcmp(path, run->places[j].path) != 0))
			return true;
	return false;
}

/* A run inside of a run, or of a mount: that serves the place already. */
static int check_served(const struct run *run, const char *path)
{
	if (!check_is_served(path))
		return 0;
	if (run->opts.words) {
		complain("'%s': lies in a pycachefs mount already, which has options of "
			 "its own; leave -o out", path);
		return -EBUSY;
	}
	if (run->verbose)
		complain("'%s': lies in a pycachefs mount already, which is used", path);
	return 1;
}

/* Resolves the places and leaves those that have to be mounted. */
static int prepare_places(struct run *run)
{
	int err = check_resolve_store(&run->opts.store);

	if (err)
		return err;
	for (size_t i = 0; i < run->count; i++) {
		err = check_resolve(&run->places[i].path);
		if (!err)
			err = check_directory(run->places[i].path);
		if (err)
			return err;
		/* A process's root is never looked up, so nothing can cover it. */
		if (strcmp(run->places[i].path, "/") == 0) {
			complain("'/': can't be mounted over itself; give directories "
				 "below it");
			return -EINVAL;
		}
	}
	for (size_t i = run->count; i-- > 0;) {
		int served = check_served(run, run->places[i].path);

		if (served < 0)
			return served;
		if (served || is_covered(run, i))
			drop_place(run, i);
	}
	return 0;
}

/* Lets the options speak of this place. */
static int aim(struct run *run, const struct place *place)
{
	free(run->opts.source);
	free(run->opts.mountpoint);
	run->opts.source = strdup(place->path);
	run->opts.mountpoint = strdup(place->path);
	return run->opts.source && run->opts.mountpoint ? 0 : -ENOMEM;
}

/* --------------------------------------------------------------- the daemon */

struct daemon {
	struct handover *handover;
	const struct opts *opts;
	int terminal;		/* standard error, for the last line; -1: not wanted */
};

static int on_ready(void *data)
{
	struct daemon *daemon = data;

	detach_streams(daemon->handover->null);
	return handover_tell(daemon->handover, true);
}

/* What was done to the source through the mount; the caller frees it, NULL when memory
 * is short. */
static char *describe_changes(const struct fs_figures *figures)
{
	static const char *const words[FS_CHANGE_COUNT][2] = {
		[FS_WRITTEN] = { "write", "writes" },
		[FS_MADE] = { "creation", "creations" },
		[FS_REMOVED] = { "removal", "removals" },
		[FS_RENAMED] = { "rename", "renames" },
		[FS_ATTRIBUTES] = { "change of attributes", "changes of attributes" },
	};
	const char *before = "source changed through the mount: ";
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return NULL;
	for (int i = 0; i < FS_CHANGE_COUNT; i++) {
		uint64_t count = atomic_load(&figures->changes[i]);

		if (!count)
			continue;
		fprintf(out, "%s%" PRIu64 " %s", before, count, words[i][count != 1]);
		before = ", ";
	}
	/* The first word is still to be said. */
	if (*before != ',')
		fputs("source unchanged through the mount", out);
	return fclose(out) == 0 ? text : (free(text), NULL);
}

/* Soon after the last user's end, which did not wait for it. */
static void on_ended(const struct fs_figures *figures, void *data)
{
	_cleanup_free_ char *changes = describe_changes(figures);
	struct daemon *daemon = data;
	uint64_t files = atomic_load(&figures->redirected_files);
	char size[TEXT_SIZE];

	if (daemon->terminal >= 0)
		complain_to(daemon->terminal, "'%s': %" PRIu64 " file%s, %s redirected%s%s",
			    daemon->opts->source, files, files == 1 ? "" : "s",
			    text_size(atomic_load(&figures->redirected_bytes), size),
			    changes ? "; " : "", changes ? changes : "");
}

/* The whole life of a daemon.  Returns its exit status. */
static int serve(struct run *run, struct place *place)
{
	struct daemon daemon = {
		.handover = &place->handover, .opts = &run->opts, .terminal = -1,
	};
	struct session_hooks hooks = {
		.ready = on_ready, .ended = on_ended, .data = &daemon,
	};
	int err = handover_take(&place->handover, &hooks.device, &hooks.one_id);

	/* Without a device there is nothing to tell, and nobody. */
	if (err)
		return EXIT_NOT_DONE;
	/* Each mount and its end are news of a daemon's life, not of a command's. */
	log_set_level(LOG_LEVEL_WARNING);
	if (run->verbose)
		daemon.terminal = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	err = aim(run, place);
	if (!err)
		err = session_run(&run->opts, &hooks);
	if (err)
		(void)handover_tell(&place->handover, false);
	cleanup_close(&daemon.terminal);
	return err ? EXIT_NOT_DONE : EXIT_DONE;
}

/* ------------------------------------------------------------------ the mounts */

/* Returns 0; or 1 in a daemon, when it has ended; or negative errno. */
static int start_daemons(struct run *run, int *ret_status)
{
	for (size_t i = 0; i < run->count; i++) {
		int who = handover_fork(&run->places[i].handover);

		if (who < 0) {
			complain("can't start a daemon: %s", strerror(-who));
			return who;
		}
		if (who == 0) {
			*ret_status = serve(run, &run->places[i]);
			return 1;
		}
	}
	return 0;
}

/*
 * For root libfuse starts mount(8) where there is a /run/mount/utab (3.18,
 * lib/mount_util.c).  A SIGCHLD of that must not stay pending for COMMAND.
 */
static int mount_silently(const struct run *run, struct place *place, int *ret_device)
{
	const struct timespec no_time = { 0 };
	sigset_t child, before;
	int err;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigpending(&before);
	err = session_mount(&run->opts, &place->fuse, ret_device);
	if (!sigismember(&before, SIGCHLD))
		(void)sigtimedwait(&child, NULL, &no_time);
	return err;
}

static int mount_place(struct run *run, struct place *place, bool as_user)
{
	int device, err = aim(run, place);

	if (!err)
		err = mount_silently(run, place, &device);
	if (err)
		return err;
	err = handover_give(&place->handover, device, as_user);
	if (!err)
		err = handover_wait(&place->handover);
	if (err < 0)
		complain("'%s': the daemon has ended before the mount was usable",
			 place->path);
	handover_close(&place->handover);
	return err;
}

/* Mounts all, and stands in the mount where we stood in the source. */
static int mount_places(struct run *run)
{
	bool as_user;
	int err = namespace_enter(&as_user);

	for (size_t i = 0; !err && i < run->count; i++)
		err = mount_place(run, &run->places[i], as_user);
	if (!err && run->cwd && chdir(run->cwd) < 0) {
		err = -errno;
		complain("'%s': %s", run->cwd, strerror(-err));
	}
	return err;
}

/* COMMAND could not be had: the daemons end with their mounts. */
static void unmount_places(struct run *run)
{
	/* Not to stand in one; and if so, it goes with this process. */
	if (chdir("/") < 0)
		return;
	for (size_t i = 0; i < run->count; i++) {
		session_unmount(run->places[i].fuse);
		run->places[i].fuse = NULL;
	}
}

/*
 * Whether EACCES speaks of COMMAND: execvp(3) says so too for a directory of PATH that
 * can't be searched, where a shell goes on and finds nothing.
 */
static bool is_in_path(const char *name)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *copy = strdup(path ? path : ""), *file = NULL;
	char *rest = copy, *directory;

	if (strchr(name, '/'))
		return true;
	while ((directory = strsep(&rest, ":"))) {
		free(file);
		if (asprintf(&file, "%s/%s", *directory ? directory : ".", name) < 0)
			file = NULL;
		else if (access(file, F_OK) == 0)
			return true;
	}
	return false;
}

/* Returns only when COMMAND can't be run: the exit status. */
static int become_command(struct run *run)
{
	const char *name = run->command[0];
	int err;

	release_standard(run);
	execvp(name, run->command);
	err = errno;
	if (err == EACCES && !is_in_path(name))
		err = ENOENT;
	complain("'%s': %s", name, strerror(err));
	return err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

static int mount_and_run(struct run *run)
{
	int status = EXIT_NOT_DONE;

	if (prepare_places(run))
		return EXIT_NOT_DONE;
	if (run->count) {
		run->cwd = getcwd(NULL, 0);
		if (check_proc() || check_device() || start_daemons(run, &status))
			return status;
		if (mount_places(run)) {
			unmount_places(run);
			return EXIT_NOT_DONE;
		}
	}
	status = become_command(run);
	unmount_places(run);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct run run = { 0 };
	int status;

	hold_standard(&run);
	if (parse(&run, argc, argv)) {
		status = EXIT_USAGE;
	} else if (run.help) {
		usage_help(stdout, &usage_run);
		status = EXIT_DONE;
	} else {
		status = mount_and_run(&run);
	}
	for (size_t i = 0; i < run.count; i++)
		free(run.places[i].path);
	free(run.places);
	free(run.store);
	free(run.cwd);
	opts_clear(&run.opts);
	return status;
}
