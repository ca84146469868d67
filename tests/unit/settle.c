/*
 * Descriptors that are open for writing: given up when they are idle, so that what
 * was written can be executed and the filesystem remounted.
 */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cred.h"
#include "inode.h"
#include "settle.h"

static int set_up(void **state)
{
	*state = world_create(NULL);
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

static void settle(struct world *world)
{
	handles_settle(inode_handles(world->fs.inodes));
}

static struct inode *make(struct world *world, const char *name)
{
	tree_write(world_path(world, name), "text", -1);
	return world_find(world, world->root, name);
}

static int open_to_write(struct world *world, struct inode *inode)
{
	return world_open(world, inode, HANDLE_WRITE);
}

/* Whether the cached descriptor is open for writing; asking for it is no write. */
static bool is_writer(struct world *world, struct inode *inode)
{
	struct handle *handle;
	int flags;

	assert_int_equal(inode_open(world->fs.inodes, inode, HANDLE_PATH, &handle),
			 0);
	flags = fcntl(handle_fd(handle), F_GETFL);
	handle_put(handle);
	return !(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY;
}

static void an_idle_writer_is_settled(void **state)
{
	struct world *world = *state;
	struct inode *file = make(world, "file");

	assert_int_equal(open_to_write(world, file), 0);
	/* It was written to since the last time, which never was. */
	settle(world);
	assert_true(is_writer(world, file));
	settle(world);
	assert_false(is_writer(world, file));
	assert_int_equal(world_figures(world).descriptors, 2);
	/* It can be written again, and is settled again. */
	assert_int_equal(open_to_write(world, file), 0);
	assert_true(is_writer(world, file));
	settle(world);
	settle(world);
	assert_false(is_writer(world, file));
}

static void a_busy_writer_is_not(void **state)
{
	struct world *world = *state;
	struct inode *busy = make(world, "busy"), *idle = make(world, "idle");

	assert_int_equal(open_to_write(world, idle), 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(open_to_write(world, busy), 0);
		settle(world);
		assert_true(is_writer(world, busy));
	}
	assert_false(is_writer(world, idle));
}

static void make_writers(struct world *world, struct inode **files, int count)
{
	char name[16];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "file-%d", i);
		files[i] = make(world, name);
		assert_int_equal(open_to_write(world, files[i]), 0);
	}
}

static void all_idle_writers_are_settled_at_once(void **state)
{
	enum { COUNT = 50 };
	struct world *world = *state;
	struct inode *files[COUNT];
	int left = 0;

	make_writers(world, files, COUNT);
	settle(world);
	settle(world);
	for (int i = 0; i < COUNT; i++)
		left += is_writer(world, files[i]);
	assert_int_equal(left, 0);
}

/* In the pass after it went idle, wherever it stands among those that are busy. */
static void busy_writers_keep_no_idle_one_open(void **state)
{
	enum { COUNT = 200 };
	struct world *world = *state;
	struct inode *files[COUNT];

	make_writers(world, files, COUNT);
	settle(world);
	for (int i = 0; i < COUNT; i++)
		if (i % 3)
			assert_int_equal(open_to_write(world, files[i]), 0);
	settle(world);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(is_writer(world, files[i]), i % 3 != 0);
	settle(world);
	for (int i = 0; i < COUNT; i++)
		assert_false(is_writer(world, files[i]));
}

static void what_is_settled_can_be_executed(void **state)
{
	struct world *world = *state;
	const char *const argv[] = { world_path(world, "true"), NULL };
	struct command before, after;
	size_t size;
	char *program = tree_read("/bin/true", &size);
	int fd = open(argv[0], O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, program, size), size);
	close(fd);
	free(program);
	struct inode *file = world_find(world, world->root, "true");
	assert_int_equal(open_to_write(world, file), 0);
	before = command_run(NULL, argv);
	settle(world);
	settle(world);
	after = command_run(NULL, argv);
	/* ETXTBSY, by which it is seen that the descriptor was in the way. */
	assert_int_equal(before.status, 127);
	assert_int_equal(after.status, 0);
	command_free(&before);
	command_free(&after);
}

static void the_store_has_nothing_to_settle(void **state)
{
	struct world *world = *state;
	struct inode *cache, *file;

	cache = world_find(world, world->root, "__pycache__");
	assert_int_equal(world_make(world, cache, "x.pyc", "text"), 0);
	file = world_find(world, cache, "x.pyc");
	assert_int_equal(open_to_write(world, file), 0);
	for (int i = 0; i < 3; i++)
		settle(world);
	assert_true(is_writer(world, file));
}

/* Whoever has a file open may go on writing to it when its mode no longer lets
 * them open it: the daemon must not give up what it would not get again. */
static void a_writer_that_could_not_come_back_is_kept(void **state)
{
	struct world *world = *state;
	struct inode *file = make(world, "file");

	assert_int_equal(open_to_write(world, file), 0);
	assert_int_equal(chmod(world_path(world, "file"), 0444), 0);
	/* As a daemon that is no root: its checks are those of this user. */
	setfsuid(NOBODY);
	for (int i = 0; i < 3; i++)
		settle(world);
	int err = open_to_write(world, file);
	setfsuid(0);
	assert_int_equal(err, 0);
	assert_true(is_writer(world, file));
}

static void being_short_of_descriptors_is_no_reason_to_keep(void **state)
{
	struct world *world = *state;
	struct inode *file = make(world, "file");
	struct rlimit before, none;

	assert_int_equal(open_to_write(world, file), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	settle(world);
	settle(world);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_true(is_writer(world, file));
	settle(world);
	settle(world);
	assert_false(is_writer(world, file));
}

/* Opens @count files for writing that can't be opened so again. */
static void make_kept(struct world *world, struct inode **files, int count)
{
	char name[16];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "kept-%d", i);
		files[i] = make(world, name);
		assert_int_equal(inode_keep_writer(world->fs.inodes, files[i]), 0);
		assert_int_equal(chmod(world_path(world, name), 0444), 0);
	}
}

/* How many can be written to by a daemon that is no root. */
static int count_writable(struct world *world, struct inode **files, int count)
{
	int writable = 0;

	setfsuid(NOBODY);
	for (int i = 0; i < count; i++)
		writable += open_to_write(world, files[i]) == 0;
	setfsuid(0);
	return writable;
}

static void others_go_before_a_writer_that_is_kept(void **state)
{
	enum { LIMIT = 64, FEW = LIMIT / 2, MANY = 2 * LIMIT };
	struct world *world = *state;
	struct inode *files[MANY];

	world_destroy(world);
	*state = world = world_create(&(struct world_options){ .limit = LIMIT });
	make_kept(world, files, FEW);
	world_push_out(world);
	assert_int_equal(count_writable(world, files, FEW), FEW);
	assert_in_range(world_figures(world).descriptors, FEW, LIMIT);
	/* When they are more than fit, the last ones are there, and some room. */
	make_kept(world, files, MANY);
	world_push_out(world);
	assert_in_range(count_writable(world, files, MANY), LIMIT / 2, LIMIT);
	assert_int_equal(count_writable(world, &files[MANY - FEW], FEW), FEW);
	/* One that can come back is like any other. */
	for (int i = 0; i < MANY; i++)
		inode_unkeep_writer(world->fs.inodes, files[i]);
	world_push_out(world);
	assert_int_equal(count_writable(world, files, MANY), 0);
}

struct waiter {
	struct handles *handles;
	int calls;
	bool last;
};

static void *wait_for_writers(void *data)
{
	struct waiter *waiter = data;

	while ((waiter->last = handles_settle_wait(waiter->handles, 0)))
		waiter->calls++;
	return NULL;
}

static void waiting_ends_when_it_is_told_to(void **state)
{
	struct world *world = *state;
	struct waiter waiter = { .handles = inode_handles(world->fs.inodes) };
	pthread_t thread;

	/* With a writer there is no wait but the pause. */
	assert_int_equal(open_to_write(world, make(world, "file")), 0);
	assert_true(handles_settle_wait(waiter.handles, 0));
	settle(world);
	settle(world);
	/* Without one it would last for ever. */
	assert_int_equal(pthread_create(&thread, NULL, wait_for_writers, &waiter),
			 0);
	handles_settle_stop(waiter.handles);
	pthread_join(thread, NULL);
	assert_int_equal(waiter.calls, 0);
	assert_false(waiter.last);
	/* It stays stopped, and does not sit out a pause. */
	assert_false(handles_settle_wait(waiter.handles, 3600));
}

static void *wait_once(void *data)
{
	struct waiter *waiter = data;

	waiter->last = handles_settle_wait(waiter->handles, 0);
	return NULL;
}

static void a_new_writer_ends_the_wait(void **state)
{
	struct world *world = *state;
	struct waiter waiter = { .handles = inode_handles(world->fs.inodes) };
	struct inode *file = make(world, "file");
	pthread_t thread;

	/* Whichever comes first; if nobody woke it, this would not end. */
	assert_int_equal(pthread_create(&thread, NULL, wait_once, &waiter), 0);
	assert_int_equal(open_to_write(world, file), 0);
	pthread_join(thread, NULL);
	assert_true(waiter.last);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(an_idle_writer_is_settled),
		T(a_busy_writer_is_not),
		T(all_idle_writers_are_settled_at_once),
		T(busy_writers_keep_no_idle_one_open),
		T(what_is_settled_can_be_executed),
		T(the_store_has_nothing_to_settle),
		T(a_writer_that_could_not_come_back_is_kept),
		T(others_go_before_a_writer_that_is_kept),
		T(being_short_of_descriptors_is_no_reason_to_keep),
		T(waiting_ends_when_it_is_told_to),
		T(a_new_writer_ends_the_wait),
	};
	int status = unit_needs_root();

	if (!status)
		status = unit_needs_store();
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
