/*
 * Descriptors that must stay because nothing else leads to their file, and what
 * happens when they are many, or the process runs out of descriptors.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "inode.h"
#include "inode_names.h"

/* Of the limit three quarters may be pinned; one is the root. */
enum { LIMIT = 64, PINS = LIMIT * 3 / 4 - 1, FILES = 120 };

static const char *file_name(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "file-%d", i);
	return name;
}

static struct world *create(unsigned limit)
{
	struct world *world = world_create(&(struct world_options){
		.without_store = true, .limit = limit });

	for (int i = 0; i < FILES; i++)
		tree_write(world_path(world, file_name(i)), "text", -1);
	return world;
}

static int set_up(void **state)
{
	*state = create(LIMIT);
	return 0;
}

static int set_up_without_limit(void **state)
{
	*state = create(100000);
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

static struct inode *find(struct world *world, int i)
{
	return world_find(world, world->root, file_name(i));
}

static int hold(struct world *world, struct inode *inode)
{
	return inode_hold(world->fs.inodes, inode, true);
}

static void release(struct world *world, struct inode *inode)
{
	inode_release(world->fs.inodes, inode);
}

/* Unlinks a file as the operation does.  Returns what inode_hold() did. */
static int take_away(struct world *world, struct inode *file, int i)
{
	int err = hold(world, file);

	if (err)
		return err;
	tree_remove(world_path(world, file_name(i)));
	inode_lost_name(world->fs.inodes, file, world->root, file_name(i));
	release(world, file);
	return 0;
}

static void what_is_held_stays_and_no_longer(void **state)
{
	struct world *world = *state;
	struct inode *file = find(world, 0);

	/* Also one that has no descriptor to begin with, and twice. */
	inode_close(world->fs.inodes, file);
	assert_int_equal(hold(world, file), 0);
	assert_int_equal(hold(world, file), 0);
	tree_remove(world_path(world, file_name(0)));
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_READ), 0);
	release(world, file);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_WRITE), 0);
	release(world, file);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_PATH), -ESTALE);
	assert_int_equal(hold(world, file), -ESTALE);
}

static void what_has_lost_its_name_stays(void **state)
{
	struct world *world = *state;
	struct inode *file = find(world, 0);

	assert_int_equal(take_away(world, file, 0), 0);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_WRITE), 0);
	/* Not even who takes its descriptor for worthless drops it. */
	inode_close(world->fs.inodes, file);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_READ), 0);
	world_forget(world, file);
	assert_int_equal(world_figures(world).known, 1);
	assert_int_equal(world_figures(world).descriptors, 1);
}

/* O_TMPFILE: it came without a name, by its descriptor. */
static void what_never_had_a_name_stays(void **state)
{
	struct world *world = *state;
	int fd = open(world->source, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct sighting seen = { .fd = fd, .open_for = HANDLE_WRITE };
	struct inode *file;
	struct stat st;
	char path[32];

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(identify(&world->fs.devices, fd, "", &st, &seen.id), 0);
	seen.mode = st.st_mode;
	assert_int_equal(inode_lookup(world->fs.inodes, &seen, &file), 0);
	inode_put(world->fs.inodes, file);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_WRITE), 0);
	assert_null(inode_parent(world->fs.inodes, file));
	/* Given a name and looked up by it, it need not. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(linkat(AT_FDCWD, path, AT_FDCWD,
				world_path(world, "named"), AT_SYMLINK_FOLLOW), 0);
	assert_ptr_equal(world_find(world, world->root, "named"), file);
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_WRITE), 0);
	tree_remove(world_path(world, "named"));
	world_push_out(world);
	assert_int_equal(world_open(world, file, HANDLE_PATH), -ESTALE);
}

/* Pins may not take all: then nothing else could be opened. */
static void too_many_pins_are_refused_before_the_name_goes(void **state)
{
	struct world *world = *state;
	struct inode *files[FILES];
	struct stat st;

	for (int i = 0; i < FILES; i++)
		files[i] = find(world, i);
	for (int i = 0; i < PINS; i++)
		assert_int_equal(take_away(world, files[i], i), 0);
	for (int i = PINS; i < FILES; i++) {
		assert_int_equal(take_away(world, files[i], i), -EMFILE);
		assert_int_equal(stat(world_path(world, file_name(i)), &st), 0);
		/* What only moves needs no pin. */
		assert_int_equal(inode_hold(world->fs.inodes, files[i], false), 0);
		release(world, files[i]);
		/* Each has waited a moment for others to go. */
		i += FILES / 4;
	}
	/* Neither is there one for what never had a name. */
	int fd = open(world->source, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct sighting seen = { .fd = fd, .open_for = HANDLE_WRITE };
	struct inode *none;

	assert_true(fd >= 0);
	assert_int_equal(identify(&world->fs.devices, fd, "", &st, &seen.id), 0);
	seen.mode = st.st_mode;
	assert_int_equal(inode_lookup(world->fs.inodes, &seen, &none), -EMFILE);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	/* All the rest goes on, however long, and within the limit. */
	for (int round = 0; round < 20; round++)
		for (int i = PINS; i < FILES; i++) {
			assert_int_equal(world_open(world, files[i], HANDLE_READ),
					 0);
			assert_in_range(world_figures(world).descriptors, PINS,
					LIMIT);
		}
	for (int i = 0; i < PINS; i++)
		assert_int_equal(world_open(world, files[i], HANDLE_WRITE), 0);
	/* With one forgotten there is room for one. */
	world_forget(world, files[0]);
	assert_int_equal(take_away(world, files[PINS], PINS), 0);
	assert_int_equal(take_away(world, files[PINS + 1], PINS + 1), -EMFILE);
}

/* Descriptors that are in the way of all others. */
struct filling {
	struct rlimit before;
	int fds[256], count;
};

static void fill_up(struct filling *filling)
{
	struct rlimit limit;

	*filling = (struct filling){ 0 };
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &filling->before), 0);
	limit = filling->before;
	limit.rlim_cur = (rlim_t)unit_descriptors() + 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while (filling->count < 256 &&
	       (filling->fds[filling->count] = open("/", O_PATH | O_CLOEXEC)) >= 0)
		filling->count++;
	assert_in_range(filling->count, 1, 255);
}

static void empty(struct filling *filling)
{
	while (filling->count > 0)
		close(filling->fds[--filling->count]);
	setrlimit(RLIMIT_NOFILE, &filling->before);
}

static void out_of_descriptors_others_make_room(void **state)
{
	struct world *world = *state;
	struct inode *files[FILES];
	struct filling filling;
	int errors = 0;

	for (int i = 0; i < FILES; i++)
		files[i] = find(world, i);
	for (int i = 0; i < FILES / 2; i++)
		inode_close(world->fs.inodes, files[i]);
	fill_up(&filling);
	for (int i = 0; i < FILES / 2; i++) {
		errors += world_open(world, files[i], HANDLE_PATH) != 0;
		errors += world_open(world, files[i], HANDLE_READ) != 0;
		errors += world_open(world, files[i], HANDLE_WRITE) != 0;
		errors += hold(world, files[i]) != 0;
		release(world, files[i]);
	}
	empty(&filling);
	assert_int_equal(errors, 0);
}

static void out_of_descriptors_what_must_stay_stays(void **state)
{
	enum { GONE = 20 };
	struct world *world = *state;
	struct inode *files[GONE], *wanted = find(world, GONE);
	struct filling filling;
	int opened, held;

	for (int i = 0; i < GONE; i++) {
		files[i] = find(world, i);
		assert_int_equal(take_away(world, files[i], i), 0);
	}
	inode_close(world->fs.inodes, wanted);
	fill_up(&filling);
	opened = world_open(world, wanted, HANDLE_PATH);
	held = hold(world, wanted);
	empty(&filling);
	assert_int_equal(opened, -EMFILE);
	assert_int_equal(held, -EMFILE);
	for (int i = 0; i < GONE; i++)
		assert_int_equal(world_open(world, files[i], HANDLE_READ), 0);
	assert_int_equal(world_open(world, wanted, HANDLE_PATH), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define U(name) \
	cmocka_unit_test_setup_teardown(name, set_up_without_limit, tear_down)
	const struct CMUnitTest tests[] = {
		T(what_is_held_stays_and_no_longer),
		T(what_has_lost_its_name_stays),
		T(what_never_had_a_name_stays),
		T(too_many_pins_are_refused_before_the_name_goes),
		U(out_of_descriptors_others_make_room),
		U(out_of_descriptors_what_must_stay_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
