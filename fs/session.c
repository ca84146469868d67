/*
 * A session: builds the modules in order, mounts, serves, tears down in reverse.
 *
 * The order matters.  Everything that is opened by a path (source, /proc, the
 * store's helper) is opened before mounting, since afterwards the path may lead
 * into our own mount.  Threads start last.
 */
#include "session.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "config.h"
#include "cred.h"
#include "fs.h"
#include "guard.h"
#include "log.h"
#include "mounts.h"
#include "notify.h"
#include "ops.h"
#include "paths.h"
#include "reply.h"
#include "route.h"
#include "settle.h"
#include "status.h"
#include "stores.h"
#include "tend.h"
#include "util.h"
#include "watch.h"

enum {
	/* Idle descriptors for writing are given up after this. */
	SETTLE_SECONDS = 1,
	MIN_THREADS = 2,
	/* Eight times the kernel's default about doubles a cold sequential read. */
	READ_AHEAD = 1 << 20,
	/* Of the kernel's protocol, 7.45: FUSE_NOTIFY_PRUNE. */
	MINOR_THAT_PRUNES = 45,
};

struct session {
	struct fs fs;		/* first: libfuse hands it to every operation */
	struct fuse_session *fuse;	/* owned */
	const struct session_hooks *hooks;	/* borrowed */
	int device;		/* a mount's, to be served; owned; -1: none, or taken */
	bool agreed;		/* the kernel and we, on what is asked how */
	struct mount_id own;	/* our mount; dev 0: could not be told, or elsewhere */
	struct guard guard;
	struct notifier *notifier;	/* owned */
	struct watcher *watcher;	/* owned */
	struct tender *tender;	/* owned; NULL: nobody else uses the store */
	pthread_t settler;
	bool settles;		/* it runs */
};

/* Where changes can't be heard of: what people take for "at once", and long enough
 * for an import. */
static const double DEFAULT_TIMEOUT = 1;

/* The error that libfuse told last before the mount was usable: it then belongs into
 * our one line.  Some of its threads may speak. */
static struct {
	pthread_mutex_t lock;
	char words[LOG_WORDS];
} libfuse_said = { .lock = PTHREAD_MUTEX_INITIALIZER };

__attribute__((format(printf, 2, 0)))
static void log_libfuse(enum fuse_log_level level, const char *format,
			va_list args)
{
	char text[LOG_WORDS];

	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_at(level <= FUSE_LOG_ERR ? LOG_LEVEL_ERROR :
	       level <= FUSE_LOG_WARNING ? LOG_LEVEL_WARNING :
	       level <= FUSE_LOG_INFO ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG,
	       "%s", text);
}

__attribute__((format(printf, 2, 0)))
static void note_libfuse(enum fuse_log_level level, const char *format,
			 va_list args)
{
	char *words = libfuse_said.words;

	if (level > FUSE_LOG_ERR) {
		log_libfuse(level, format, args);
		return;
	}
	pthread_mutex_lock(&libfuse_said.lock);
	vsnprintf(words, sizeof(libfuse_said.words), format, args);
	words[strcspn(words, "\n")] = '\0';
	pthread_mutex_unlock(&libfuse_said.lock);
}

/* It worked all the same: what was said goes to the log, as all that follows. */
static void stop_noting(void)
{
	if (*libfuse_said.words)
		log_warning("%s", libfuse_said.words);
	fuse_set_log_func(log_libfuse);
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
	int err = stores_open(&fs->store, fs->opts, fs->source.fd);

	if (err)
		return err;
	int fd = fcntl(fs->store.empty, F_DUPFD_CLOEXEC, 3);
	fs->empty = fd < 0 ? NULL : handle_create(fd);
	return fs->empty ? 0 : fail("store", -ENOMEM);
}

static bool lets_others_in(const struct opts *opts)
{
	return opts->allow_other || geteuid() == 0;
}

static int build(struct session *session, const struct opts *opts)
{
	struct fs *fs = &session->fs;
	int err;

	fs->opts = opts;
	fs->timeout = opts_has_timeout(opts) ? opts->timeout : DEFAULT_TIMEOUT;
	fs->several_users = lets_others_in(opts);
	fs->describe = status_describe;
	pthread_mutex_init(&fs->room_lock, NULL);
	pthread_mutex_init(&fs->seed_lock, NULL);
	pthread_mutex_init(&fs->misses.lock, NULL);
	fs->source.fd = fs->store.root = fs->store.empty = fs->store.lock = -1;
	err = devices_init(&fs->devices);
	if (!err)
		err = cred_init();
	if (err)
		return fail("can't open /proc/self/fd, is /proc mounted", err);
	err = cred_check_threads();
	if (err)
		return fail("can't start a thread with a umask and a directory of its "
			    "own (clone3, unshare), is that forbidden here", err);
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
	fs->not_watching = "asked for by the option timeout";
	err = watcher_create(&session->watcher, fs, !opts_has_timeout(opts));
	return err ? fail("watcher", err) : 0;
}

static void demolish(struct session *session)
{
	struct fs *fs = &session->fs;

	cleanup_close(&session->device);
	if (session->fuse)
		fuse_session_destroy(session->fuse);
	inode_table_destroy(fs->inodes);
	watcher_destroy(session->watcher);
	handle_put(fs->empty);
	store_destroy(&fs->store);
	source_close(&fs->source);
	devices_destroy(&fs->devices);
	pthread_mutex_destroy(&fs->room_lock);
	pthread_mutex_destroy(&fs->seed_lock);
	pthread_mutex_destroy(&fs->misses.lock);
}

static void stop_watching(struct fs *fs, const char *why)
{
	fs->not_watching = why;
	atomic_store(&fs->watching, false);
}

/* The kernel's first request.  Until it is answered, the others wait. */
static void on_init(void *data, struct fuse_conn_info *conn)
{
	struct session *session = data;

	ops_negotiate(conn);
	/* The kernel takes the smaller of this and what is set by then. */
	conn->max_readahead = READ_AHEAD;
	/* libfuse refuses to serve when this is not what the mount was told. */
	conn->max_read = session->fs.opts->max_read;
	atomic_store(&session->fs.prunes, conn->proto_minor >= MINOR_THAT_PRUNES);
	if (!(conn->capable_ext & FUSE_CAP_EXPIRE_ONLY))
		stop_watching(&session->fs, "the kernel is older than 6.2");
	session->agreed = true;
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
	if (lets_others_in(opts))
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
			 *libfuse_said.words ? libfuse_said.words : strerror(-err));
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
	char words[LOG_WORDS];
	int err = mount_quietly(session->fuse, mountpoint, words, sizeof(words));

	words[strcspn(words, "\n")] = '\0';
	if (err) {
		complain("can't mount on '%s': %s", mountpoint,
			 *words ? words : *libfuse_said.words ? libfuse_said.words :
			 strerror(-err));
		return err;
	}
	if (*words)
		log_warning("%s", words);
	if (mounts_identify(mountpoint, &session->own)) {
		log_warning("'%s': not in the list of mounts", mountpoint);
		return 0;
	}
	atomic_store(&session->fs.source.own_dev, session->own.dev);
	raise_read_ahead(session->own.dev);
	err = guard_watch(&session->guard, &session->own);
	if (err)
		log_warning("'%s': its guard has gone: %s", mountpoint, strerror(-err));
	return 0;
}

/* Serves a mount that was made elsewhere; libfuse's notation for its descriptor. */
static int take_device(struct session *session)
{
	char name[32];

	snprintf(name, sizeof(name), "/dev/fd/%d", session->device);
	if (fuse_session_mount(session->fuse, name) < 0)
		return fail("can't serve the mount", -EIO);
	session->device = -1;
	return 0;
}

/*
 * Answers the kernel's first request, INIT, which mounting has queued.  Only when
 * the answer is written can the mount be used, so it is not left to fuse_session_
 * loop_mt(), which would tell nobody when it is.
 */
static int agree(struct session *session)
{
	const char *mountpoint = session->fs.opts->mountpoint;
	struct fuse_buf request = { 0 };
	int result = fuse_session_receive_buf(session->fuse, &request);

	if (result > 0)
		fuse_session_process_buf(session->fuse, &request);
	free(request.mem);
	if (session->agreed && !fuse_session_exited(session->fuse)) {
		stop_noting();
		return 0;
	}
	/* Who has mounted elsewhere knows why it is gone. */
	if (result || session->hooks->device < 0)
		complain("can't serve '%s': %s", mountpoint,
			 *libfuse_said.words ? libfuse_said.words :
			 result < 0 ? strerror(-result) :
			 "unmounted before it was usable");
	return result < 0 ? result : -EPROTO;
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
	notifier_set_readers(session->notifier, (unsigned)threads);
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
	int err = notifier_create(&session->notifier, session->fuse, fs);

	if (!err)
		err = watcher_start(session->watcher, session->notifier);
	if (!err && store_is_shared(&fs->store))
		err = tender_create(&session->tender, fs);
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
	tender_destroy(session->tender);
	watcher_stop(session->watcher);
	notifier_destroy(session->notifier);
}

/*
 * The connection ends before the mount does: a word to the kernel may wait for a
 * reader that is gone, and so may unmounting.  Who uses the mount gets errors.
 */
static void unmount(struct session *session)
{
	struct pollfd device = { .fd = fuse_session_fd(session->fuse) };

	if (!session->own.dev && session->hooks->device < 0) {
		fuse_session_unmount(session->fuse);
		return;
	}
	/* The error says that the mount is gone, or that its connection is. */
	bool severed = poll(&device, 1, 0) == 1 && device.revents & POLLERR;
	/* Not closed, since libfuse will close it. */
	dup3(session->fs.source.fd, device.fd, O_CLOEXEC);
	/* Another mount may have got its numbers by now; one that was made elsewhere
	 * has none here. */
	if (session->own.dev && (!severed || session->own.unique))
		path_unmount_only(&session->own);
}

static int serve_until_end(struct session *session)
{
	const char *mountpoint = session->fs.opts->mountpoint;
	int err;

	log_info("'%s' on '%s': mounted", session->fs.opts->source, mountpoint);
	err = serve(session);
	if (err)
		log_error("'%s': serving has ended: %s", mountpoint, strerror(-err));
	return err;
}

/* @before: the signals that were blocked before mounting. */
static int use_mount(struct session *session, const sigset_t *before)
{
	const struct session_hooks *hooks = session->hooks;
	int err = start_threads(session);
	bool usable;

	if (err)
		fail("can't start a thread", err);
	else
		err = agree(session);
	pthread_sigmask(SIG_SETMASK, before, NULL);
	if (!err && fuse_session_exited(session->fuse)) {
		complain("'%s': a signal ended it before it was usable",
			 session->fs.opts->mountpoint);
		err = -EINTR;
	}
	if (!err)
		err = hooks->ready(hooks->data);
	usable = !err;
	if (usable)
		err = serve_until_end(session);
	unmount(session);
	stop_threads(session);
	if (usable && hooks->ended)
		hooks->ended(&session->fs.figures, hooks->data);
	log_info("'%s': unmounted", session->fs.opts->mountpoint);
	return err;
}

/*
 * Signals wait while there is a mount that could not be taken away yet, here or in
 * fusermount3, which inherits the mask; and while libfuse sets its handlers, which
 * forget what comes before it has noted the session (3.18, lib/fuse_signals.c).
 */
static int mount_and_use(struct session *session)
{
	sigset_t ending, before;
	int err;

	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ending, &before);
	if (fuse_set_signal_handlers(session->fuse) < 0)
		return fail("can't set signal handlers", -EIO);
	err = session->device < 0 ? mount_session(session) : take_device(session);
	if (!err)
		err = use_mount(session, &before);
	/* A signal that comes now finds nothing left to stop: it shall not show in how
	 * the process ended. */
	pthread_sigmask(SIG_BLOCK, &ending, NULL);
	fuse_remove_signal_handlers(session->fuse);
	return err;
}

int session_run(const struct opts *opts, const struct session_hooks *hooks)
{
	struct session session = {
		.hooks = hooks, .device = hooks->device, .guard = { .pipe = -1 },
		.fs.one_id = hooks->one_id,
	};
	int err = 0;

	fuse_set_log_func(note_libfuse);
	if (opts->auto_unmount)
		err = guard_start(&session.guard, opts->foreground);
	if (err)
		return fail("can't start a guard for auto_unmount", err);
	err = build(&session, opts);
	if (!err)
		err = create_fuse(&session);
	if (!err)
		err = mount_and_use(&session);
	demolish(&session);
	guard_dismiss(&session.guard);
	return err;
}

int session_mount(const struct opts *opts, struct fuse_session **ret,
		  int *ret_device)
{
	struct session session = { .fs.opts = opts, .guard = { .pipe = -1 } };
	int err;

	/* Of this mount, not of one before it. */
	*libfuse_said.words = '\0';
	fuse_set_log_func(note_libfuse);
	err = create_fuse(&session);
	if (!err)
		err = mount_session(&session);
	if (!err) {
		stop_noting();
		*ret = session.fuse;
		*ret_device = fuse_session_fd(session.fuse);
	} else if (session.fuse) {
		fuse_session_destroy(session.fuse);
	}
	return err;
}

void session_unmount(struct fuse_session *fuse)
{
	if (!fuse)
		return;
	fuse_session_unmount(fuse);
	fuse_session_destroy(fuse);
}
