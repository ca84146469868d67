/*
 * What the unit tests share.
 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include "cred.h"
#include "names.h"
#include "settle.h"

static int skip_because(const char *why)
{
	fprintf(stderr, "cannot run here: %s\n", why);
	return getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
}

int unit_needs_root(void)
{
	/* Nothing is mounted there: EINVAL for who may unmount. */
	if (geteuid() != 0)
		return skip_because("not root");
	if (umount2("/proc/self/fd", 0) < 0 && errno == EPERM)
		return skip_because("no right to mount");
	return 0;
}

int unit_needs_store(void)
{
	struct store store;
	int err = store_create(&store, 1 << 20, 0);

	if (err)
		return skip_because(strerror(-err));
	store_destroy(&store);
	return 0;
}

int unit_needs_fuse(void)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	return fd < 0 ? skip_because("/dev/fuse can't be opened") : 0;
}

void unit_own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		perror("a mount namespace");
		exit(1);
	}
}

int unit_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	if (!dir)
		abort();
	while (readdir(dir))
		count++;
	closedir(dir);
	/* Without ".", ".." and the listing's own. */
	return count - 3;
}

char *unit_scratch(void)
{
	const char *where = getenv("TMPDIR");
	char *path;

	if (asprintf(&path, "%s/pycachefs-unit-XXXXXX",
		     where && *where ? where : "/tmp") < 0 || !mkdtemp(path))
		abort();
	assert_int_equal(chmod(path, 0755), 0);
	return path;
}

void unit_remove(char *path)
{
	if (path)
		tree_remove(path);
	free(path);
}

void unit_chain(int at, int depth)
{
	int fd = dup(at);

	for (int i = 0; i < depth; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		assert_int_equal(mknodat(fd, "d/file", S_IFREG | 0600, 0), 0);
		int next = openat(fd, "d", O_PATH | O_CLOEXEC);

		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
}

struct crew {
	pthread_barrier_t start;
	void (*run)(void *data, int index);
	void *data;
};

struct worker {
	struct crew *crew;
	pthread_t thread;
	int index;
};

static void *work(void *data)
{
	struct worker *worker = data;

	pthread_barrier_wait(&worker->crew->start);
	worker->crew->run(worker->crew->data, worker->index);
	return NULL;
}

void unit_threads(int count, void (*run)(void *data, int index), void *data)
{
	struct crew crew = { .run = run, .data = data };
	struct worker workers[16];

	assert_in_range(count, 1, 16);
	pthread_barrier_init(&crew.start, NULL, (unsigned)count);
	for (int i = 0; i < count; i++) {
		workers[i] = (struct worker){ .crew = &crew, .index = i };
		/* Those that run wait for this one: there is no way on. */
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	}
	for (int i = 0; i < count; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_destroy(&crew.start);
}

static int said_fd = -1, stderr_fd = -1;

void unit_listen(void)
{
	said_fd = memfd_create("said", MFD_CLOEXEC);
	stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (said_fd < 0 || stderr_fd < 0 || dup2(said_fd, STDERR_FILENO) < 0)
		abort();
}

char *unit_said(void)
{
	char *text = calloc(1, 65536);

	fflush(stderr);
	dup2(stderr_fd, STDERR_FILENO);
	if (!text || pread(said_fd, text, 65535, 0) < 0)
		abort();
	close(stderr_fd);
	close(said_fd);
	return text;
}

void unit_assert_line(char *said, const char *words)
{
	size_t length = strlen(said);
	bool good = starts_with(said, "pycachefs: ") && ends_with(said, "\n") &&
		strchr(said, '\n') == said + length - 1 &&
		(!words || strstr(said, words));

	if (!good)
		print_error("not one line of ours with \"%s\": \"%s\"\n",
			    words ? words : "", said);
	free(said);
	assert_true(good);
}

/* There is no kernel: words to it are counted. */
static void hear_number(void *world, uint64_t number)
{
	(void)number;
	((struct world *)world)->words++;
}

static void hear_name(void *world, uint64_t number, const char *name)
{
	(void)number, (void)name;
	((struct world *)world)->words++;
}

static void hear_file(void *world, uint64_t number, uint64_t parent, const char *name)
{
	(void)number, (void)parent, (void)name;
	((struct world *)world)->files_gone++;
}

static void hear_nothing(void *world)
{
	(void)world;
}

static bool hear_all(void *world)
{
	(void)world;
	return true;
}

static void build(struct world *world, const struct world_options *options)
{
	struct fs *fs = &world->fs;
	unsigned limit = options->limit ? options->limit : 1000;

	fs->opts = &world->opts;
	fs->timeout = 1;
	fs->notifier = world;
	fs->attr_changed = fs->content_changed = hear_number;
	fs->name_gone = hear_name;
	fs->words_sent = hear_all;
	fs->file_gone = hear_file;
	fs->forgotten = hear_nothing;
	pthread_mutex_init(&fs->room_lock, NULL);
	pthread_mutex_init(&fs->misses.lock, NULL);
	fs->source.fd = fs->store.root = fs->store.empty = -1;
	assert_int_equal(devices_init(&fs->devices), 0);
	assert_int_equal(source_open(&fs->source, world->source), 0);
	if (!options->without_store) {
		assert_int_equal(store_create(&fs->store,
				options->size ? options->size : 1 << 20,
				options->inodes), 0);
		fs->empty = handle_create(fcntl(fs->store.empty,
						F_DUPFD_CLOEXEC, 3));
		assert_non_null(fs->empty);
	}
	assert_int_equal(inode_table_create(&fs->inodes, fs->source.fd, limit,
					    &fs->devices, route_reopen, fs), 0);
	world->root = inode_get(fs->inodes, INODE_ROOT);
	assert_non_null(world->root);
}

struct world *world_create(const struct world_options *options)
{
	static const struct world_options defaults;
	static bool initialized;
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		abort();
	if (!options)
		options = &defaults;
	/* Once in a process; it notes its rights and opens /proc/self/fd. */
	if (!initialized)
		assert_int_equal(cred_init(), 0);
	initialized = true;
	world->descriptors = unit_descriptors();
	world->source = unit_scratch();
	world->opts.read_only = options->read_only;
	if (options->also)
		assert_int_equal(names_add(&world->opts.names, options->also), 0);
	build(world, options);
	return world;
}

void world_destroy(struct world *world)
{
	struct fs *fs;
	int before, after;

	if (!world)
		return;
	fs = &world->fs;
	before = world->descriptors;
	inode_put(fs->inodes, world->root);
	inode_table_destroy(fs->inodes);
	handle_put(fs->empty);
	store_destroy(&fs->store);
	source_close(&fs->source);
	devices_destroy(&fs->devices);
	pthread_mutex_destroy(&fs->room_lock);
	names_clear(&world->opts.names);
	unit_remove(world->source);
	free(world);
	after = unit_descriptors();
	assert_int_equal(after, before);
}

const char *world_path(const struct world *world, const char *name)
{
	return in(world->source, name);
}

/* A descriptor of what lies at @place, or negative errno. */
static int open_place(struct world *world, const struct place *place)
{
	int fd;

	if (place->kind == INODE_SOURCE) {
		int err = source_open_child(&world->fs.source, place->dirfd,
					    place->name, &fd);

		return err ? err : fd;
	}
	fd = openat(place->dirfd, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int look_up_at(struct world *world, struct inode *parent,
		      const struct place *place, struct inode **ret)
{
	struct sighting seen = {
		.kind = place->kind, .id = *inode_id(parent), .mode = S_IFDIR,
		.links = 1, .parent = parent, .name = place->name,
		.since = inode_events(world->fs.inodes), .fd = -1,
	};
	struct stat st;
	int err;

	if (place->kind != INODE_SHADOW) {
		seen.fd = open_place(world, place);
		err = seen.fd < 0 ? seen.fd : identify(&world->fs.devices, seen.fd,
						       "", &st, &seen.id);
		if (err) {
			cleanup_close(&seen.fd);
			return err;
		}
		seen.mode = st.st_mode;
		seen.links = st.st_nlink;
	}
	return inode_lookup(world->fs.inodes, &seen, ret);
}

int world_lookup(struct world *world, struct inode *parent, const char *name,
		 struct inode **ret)
{
	_cleanup_place_ struct place place = { 0 };
	int err = route(&world->fs, parent, name, ROUTE_FIND, &place);

	return err ? err : look_up_at(world, parent, &place, ret);
}

struct inode *world_find(struct world *world, struct inode *parent,
			 const char *name)
{
	struct inode *inode;

	assert_int_equal(world_lookup(world, parent, name, &inode), 0);
	inode_put(world->fs.inodes, inode);
	return inode;
}

void world_forget(struct world *world, struct inode *inode)
{
	inode_forget(world->fs.inodes, inode_number(inode), 1);
}

int world_make(struct world *world, struct inode *parent, const char *name,
	       const char *text)
{
	_cleanup_place_ struct place place = { 0 };
	_cleanup_close_ int fd = -1;
	int err = route(&world->fs, parent, name, ROUTE_MAKE, &place);

	if (err)
		return err;
	fd = openat(place.dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

struct inode_figures world_figures(struct world *world)
{
	struct inode_figures figures;

	inode_table_figures(world->fs.inodes, &figures);
	return figures;
}

int world_open(struct world *world, struct inode *inode, enum handle_use use)
{
	struct handle *handle;
	int err = inode_open(world->fs.inodes, inode, use, &handle);

	if (!err)
		handle_put(handle);
	return err;
}

void world_push_out(struct world *world)
{
	/* A round takes marks away, the next one drops; more than is looked at
	 * when a few of the many have to stay. */
	size_t count = 3 * world_figures(world).limit;
	struct inode **others = calloc(count + 1, sizeof(*others));
	char name[32];

	if (!others)
		abort();
	/* Writers would stay as long as there are others. */
	for (int i = 0; i < 2; i++)
		handles_settle(inode_handles(world->fs.inodes));
	assert_true(mkdir(world_path(world, "others"), 0755) == 0 || errno == EEXIST);
	others[count] = world_find(world, world->root, "others");
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%zu", i);
		int fd = open(world_path(world, in("others", name)),
			      O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		close(fd);
		others[i] = world_find(world, others[count], name);
		assert_int_equal(world_open(world, others[i], HANDLE_READ), 0);
	}
	for (size_t i = 0; i <= count; i++)
		world_forget(world, others[i]);
	free(others);
}
