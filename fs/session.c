/*
 * A session: builds the modules in order, mounts, serves, tears down in reverse.
 *
 * The order matters.  Everything that is opened by a path (source, /proc, the
 * store's helper) is opened before mounting, since afterwards the path may lead
 * into our own mount.  Threads start last.
 */
#include "session.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "config.h"
#include "cred.h"
#include "fs.h"
#include "log.h"
#include "mounts.h"
#include "notify.h"
#include "ops.h"
#include "reply.h"
#include "route.h"
#include "status.h"
#include "util.h"
#include "watch.h"

enum {
	/* Idle descriptors for writing are given up after this. */
	SETTLE_SECONDS = 1,
	MIN_THREADS = 2,
	/* Eight times the kernel's default about doubles a cold sequential read. */
	READ_AHEAD = 1 << 20,
};

struct session {
	struct fs fs;		/* first: libfuse hands it to every operation */
	struct fuse_session *fuse;	/* owned */
	void (*ready)(void *data);
	void *data;
	bool was_ready;
	struct notifier *notifier;	/* owned */
	struct watcher *watcher;	/* owned; NULL: a time limit instead */
	pthread_t settler;
	bool settles;		/* it runs */
};

/* Where changes can't be heard of: what people take for "at once", and long enough
 * for an import. */
static const double DEFAULT_TIMEOUT = 1;

/* What libfuse said last while it was mounting; this thread alone. */
static char libfuse_words[512];

static void note_libfuse(enum fuse_log_level level, const char *format,
			 va_list args)
{
	if (level <= FUSE_LOG_ERR)
		vsnprintf(libfuse_words, sizeof(libfuse_words), format, args);
}

static void log_libfuse(enum fuse_log_level level, const char *format,
			va_list args)
{
	char text[512];

	vsnprintf(text, sizeof(text), format, args);
	log_at(level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR :
	       level <= FUSE_LOG_WARNING ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG,
	       "%s", text);
}

/* As many descriptors as we may have; the inode table gets three quarters. */
static unsigned raise_descriptors(void)
{
	/* More than this many would only fill the kernel's memory. */
	const rlim_t most = 1 << 20;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 256;
	limit.rlim_cur = limit.rlim_max < most ? limit.rlim_max : most;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	return (unsigned)(limit.rlim_cur < most ? limit.rlim_cur : most) / 4 * 3;
}

static int fail(const char *what, int err)
{
	complain("%s: %s", what, strerror(-err));
	return err;
}

static int open_store(struct fs *fs)
{
	int err = store_create(&fs->store, fs->opts->size, fs->opts->inodes);

	if (err == -EPERM || err == -EACCES || err == -ENOSYS || err == -ENOSPC)
		complain("store: can't make a private tmpfs: %s; run as root, or allow "
			 "user namespaces (sysctl user.max_user_namespaces, "
			 "kernel.unprivileged_userns_clone)", strerror(-err));
	else if (err)
		complain("store: can't make a private tmpfs: %s", strerror(-err));
	if (err)
		return err;
	int fd = fcntl(fs->store.empty, F_DUPFD_CLOEXEC, 3);
	fs->empty = fd < 0 ? NULL : handle_create(fd);
	return fs->empty ? 0 : fail("store", -ENOMEM);
}

static int build(struct session *session, const struct opts *opts)
{
	struct fs *fs = &session->fs;
	int err;

	fs->opts = opts;
	fs->timeout = opts_has_timeout(opts) ? opts->timeout : DEFAULT_TIMEOUT;
	fs->describe = status_describe;
	pthread_mutex_init(&fs->room_lock, NULL);
	fs->source.fd = fs->store.root = fs->store.empty = -1;
	err = devices_init(&fs->devices);
	if (!err)
		err = cred_init();
	if (err)
		return fail("can't open /proc/self/fd, is /proc mounted", err);
	err = cred_check_threads();
	if (err)
		return fail("a thread can't have a umask and a directory of its own "
			    "(unshare), is that forbidden here", err);
	err = source_open(&fs->source, opts->source);
	if (err)
		return fail(opts->source, err);
	err = open_store(fs);
	if (err)
		return err;
	err = inode_table_create(&fs->inodes, fs->source.fd, raise_descriptors(),
				 &fs->devices, route_reopen, fs);
	if (err)
		return fail("inode table", err);
	/* Less is no failure: then there is a time limit. */
	fs->not_watching = "asked for by the option timeout";
	if (!opts_has_timeout(opts))
		(void)watcher_create(&session->watcher, fs, &fs->not_watching);
	return 0;
}

static void demolish(struct session *session)
{
	struct fs *fs = &session->fs;

	if (session->fuse)
		fuse_session_destroy(session->fuse);
	inode_table_destroy(fs->inodes);
	watcher_destroy(session->watcher);
	handle_put(fs->empty);
	store_destroy(&fs->store);
	source_close(&fs->source);
	devices_destroy(&fs->devices);
	pthread_mutex_destroy(&fs->room_lock);
}

static void stop_watching(struct fs *fs, const char *why)
{
	fs->not_watching = why;
	atomic_store(&fs->watching, false);
}

/* The kernel's first request: the mount is usable from here on. */
static void on_init(void *data, struct fuse_conn_info *conn)
{
	struct session *session = data;

	ops_negotiate(conn);
	/* The kernel takes the smaller of this and what is set by then. */
	conn->max_readahead = READ_AHEAD;
	if (!(conn->capable_ext & FUSE_CAP_EXPIRE_ONLY))
		stop_watching(&session->fs, "the kernel is older than 6.2");
	session->was_ready = true;
	session->ready(session->data);
	log_info("'%s' on '%s': mounted", session->fs.opts->source,
		 session->fs.opts->mountpoint);
}

/* FUSE over io_uring (Linux 6.14) is the module's choice, since it costs memory:
 * a request then takes half the time.  Without it in libfuse, nothing is asked. */
static bool kernel_has_uring(void)
{
	_cleanup_close_ int fd = open("/sys/module/fuse/parameters/enable_uring",
				      O_RDONLY | O_CLOEXEC);
	char value = 'N';

	return HAVE_FUSE_318 && fd >= 0 && read(fd, &value, 1) == 1 && value == 'Y';
}

/* The words for libfuse: those of the user and ours. */
static int build_words(const struct opts *opts, struct fuse_args *ret)
{
	_cleanup_free_ char *words = NULL, *fsname = NULL;
	int err = 0;

	for (int i = 0; i < opts->fuse.argc; i++)
		err |= fuse_opt_add_arg(ret, opts->fuse.argv[i]);
	err |= fuse_opt_add_opt(&words, "default_permissions");
	err |= fuse_opt_add_opt(&words, "subtype=pycachefs");
	if (kernel_has_uring())
		err |= fuse_opt_add_opt(&words, "io_uring");
	if (opts->allow_other || geteuid() == 0)
		err |= fuse_opt_add_opt(&words, "allow_other");
	if (!opts->fsname_given) {
		err |= asprintf(&fsname, "fsname=%s", opts->source) < 0;
		err |= !err && fuse_opt_add_opt_escaped(&words, fsname);
	}
	err |= fuse_opt_add_arg(ret, "-o") || fuse_opt_add_arg(ret, words);
	return err ? -ENOMEM : 0;
}

static int create_fuse(struct session *session)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_lowlevel_ops ops = ops_table;
	int err = build_words(session->fs.opts, &args);

	ops.init = on_init;
	if (!err) {
		session->fuse = fuse_session_new(&args, &ops, sizeof(ops), session);
		err = session->fuse ? 0 : -EINVAL;
	}
	fuse_opt_free_args(&args);
	if (err)
		complain("libfuse refuses the options: %s",
			 *libfuse_words ? libfuse_words : strerror(-err));
	return err;
}

/* fusermount3 writes to standard error itself: catch it, to say it in our line. */
static int mount_quietly(struct fuse_session *fuse, const char *mountpoint,
			 char *ret_words, size_t size)
{
	_cleanup_close_ int words = memfd_create("stderr", MFD_CLOEXEC);
	_cleanup_close_ int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	bool caught = words >= 0 && saved >= 0 && dup2(words, STDERR_FILENO) >= 0;
	int result = fuse_session_mount(fuse, mountpoint), err = -errno;
	ssize_t length = 0;

	if (caught) {
		length = pread(words, ret_words, size - 1, 0);
		dup2(saved, STDERR_FILENO);
	}
	ret_words[length > 0 ? length : 0] = '\0';
	return result == 0 ? 0 : err ? err : -EIO;
}

/* A plain user has to do with the kernel's default. */
static void raise_read_ahead(uint64_t dev)
{
	char path[64], kilobytes[16];
	int length = snprintf(kilobytes, sizeof(kilobytes), "%d", READ_AHEAD / 1024);

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
		 major(dev), minor(dev));
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, kilobytes, (size_t)length) < 0)
		log_debug("'%s': %s", path, strerror(errno));
}

static int mount_session(struct session *session)
{
	const char *mountpoint = session->fs.opts->mountpoint;
	char words[512];
	uint64_t dev;
	bool ours;
	int err = mount_quietly(session->fuse, mountpoint, words, sizeof(words));

	if (err) {
		const char *said = *words ? words : libfuse_words;
		size_t length = strcspn(said, "\n");

		complain("can't mount on '%s': %.*s", mountpoint,
			 *said ? (int)length : (int)strlen(strerror(-err)),
			 *said ? said : strerror(-err));
		return err;
	}
	if (mounts_find(mountpoint, &dev, &ours) == 1 && ours) {
		atomic_store(&session->fs.source.own_dev, dev);
		raise_read_ahead(dev);
	}
	return 0;
}

static void attr_changed(void *notifier, uint64_t number)
{
	notify_inode_later(notifier, number, false);
}

static void content_changed(void *notifier, uint64_t number)
{
	notify_inode_later(notifier, number, true);
}

static void name_gone(void *notifier, uint64_t directory, const char *name)
{
	notify_name_later(notifier, directory, name);
}

static void words_sent(void *notifier)
{
	notify_flush(notifier);
}

static void *settle(void *data)
{
	struct session *session = data;
	struct handles *handles = inode_handles(session->fs.inodes);

	while (handles_settle_wait(handles, SETTLE_SECONDS))
		handles_settle(handles);
	return NULL;
}

/*
 * As many readers as CPUs, each with a queue of its own and never idled out:
 * fewer leave a CPU waiting, more wake each other up.
 */
static int serve(struct session *session)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t threads = session->fs.opts->max_threads;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	if (!config)
		return -ENOMEM;
	if (!threads)
		threads = cpus > MIN_THREADS ? (uint64_t)cpus : MIN_THREADS;
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, (unsigned)threads);
	fuse_loop_cfg_set_idle_threads(config, (unsigned)threads);
	result = fuse_session_loop_mt(session->fuse, config);
	fuse_loop_cfg_destroy(config);
	/* Positive: the signal that ended it, which is a way to end well. */
	return result < 0 ? result : 0;
}

/* Threads beside those that serve.  On error some may run: see stop_threads(). */
static int start_threads(struct session *session)
{
	struct fs *fs = &session->fs;
	int err = notifier_create(&session->notifier, session->fuse,
				  &fs->figures.invalidations);

	if (err)
		return err;
	fs->attr_changed = attr_changed;
	fs->content_changed = content_changed;
	fs->name_gone = name_gone;
	fs->words_sent = words_sent;
	fs->notifier = session->notifier;
	if (session->watcher)
		err = watcher_start(session->watcher, session->notifier);
	if (!err)
		err = thread_start(&session->settler, settle, session);
	session->settles = !err;
	return err;
}

static void stop_threads(struct session *session)
{
	handles_settle_stop(inode_handles(session->fs.inodes));
	if (session->settles)
		pthread_join(session->settler, NULL);
	watcher_stop(session->watcher);
	notifier_destroy(session->notifier);
}

static int serve_mounted(struct session *session)
{
	int err = start_threads(session);

	fuse_set_log_func(log_libfuse);
	if (err) {
		fail("can't start a thread", err);
	} else {
		err = serve(session);
		if (err)
			log_error("'%s': serving has ended: %s",
				  session->fs.opts->mountpoint, strerror(-err));
	}
	/* Unmounted first: a word to the kernel can wait for a reader that is gone. */
	fuse_session_unmount(session->fuse);
	stop_threads(session);
	return err;
}

int session_run(const struct opts *opts, void (*ready)(void *data), void *data)
{
	struct session session = { .ready = ready, .data = data };
	int err;

	fuse_set_log_func(note_libfuse);
	err = build(&session, opts);
	if (!err)
		err = create_fuse(&session);
	if (!err && fuse_set_signal_handlers(session.fuse) < 0)
		err = fail("can't set signal handlers", -EIO);
	if (!err)
		err = mount_session(&session);
	if (!err) {
		err = serve_mounted(&session);
		if (!err && !session.was_ready) {
			complain("'%s': unmounted before it was usable",
				 opts->mountpoint);
			err = -EIO;
		}
		log_info("'%s': unmounted", opts->mountpoint);
	}
	if (session.fuse)
		fuse_remove_signal_handlers(session.fuse);
	demolish(&session);
	return err;
}
