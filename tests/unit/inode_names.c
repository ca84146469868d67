/*
 * Names that go while others look them up: an open file is never lost, and what a
 * lookup saw before a name went does not count after.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "inode.h"
#include "inode_names.h"

enum { LIMIT = 64 };

static int set_up(void **state)
{
	struct world *world = world_create(&(struct world_options){
		.without_store = true, .limit = LIMIT });

	tree_write(world_path(world, "n"), "text", -1);
	assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

/* A lookup that has opened its name, and reaches the table later. */
static struct sighting begin_lookup(struct world *world, struct inode *parent,
				    const char *path, const char *name)
{
	struct sighting seen = {
		.parent = parent, .name = name,
		.since = inode_events(world->fs.inodes),
		.fd = open(world_path(world, path), O_PATH | O_NOFOLLOW | O_CLOEXEC),
	};
	struct stat st;

	assert_true(seen.fd >= 0);
	assert_int_equal(identify(&world->fs.devices, seen.fd, "", &st, &seen.id), 0);
	seen.mode = st.st_mode;
	seen.links = st.st_nlink;
	return seen;
}

static struct inode *end_lookup(struct world *world, const struct sighting *seen)
{
	struct inode *inode;

	assert_int_equal(inode_lookup(world->fs.inodes, seen, &inode), 0);
	inode_put(world->fs.inodes, inode);
	return inode;
}

static void hold(struct world *world, struct inode *inode)
{
	assert_int_equal(inode_hold(world->fs.inodes, inode, true), 0);
}

static void release(struct world *world, struct inode *inode)
{
	inode_release(world->fs.inodes, inode);
}

/* Takes @path away, which is @name in @parent, as unlink and rmdir do. */
static void take_away(struct world *world, struct inode *inode,
		      struct inode *parent, const char *path, const char *name)
{
	hold(world, inode);
	tree_remove(world_path(world, path));
	inode_lost_name(world->fs.inodes, inode, parent, name);
	release(world, inode);
}

static void take_away_at_root(struct world *world, struct inode *inode,
			      const char *name)
{
	take_away(world, inode, world->root, name, name);
}

static void add_link(struct world *world, const char *from, const char *to)
{
	assert_int_equal(link(world_path(world, from), world_path(world, to)), 0);
}

static void assert_place(struct world *world, struct inode *inode,
			 struct inode *parent, const char *name)
{
	char is[NAME_SIZE];
	struct inode *found = inode_place(world->fs.inodes, inode, is);

	inode_put(world->fs.inodes, found);
	assert_ptr_equal(found, parent);
	assert_string_equal(is, name);
}

/* Whether its descriptor is kept, or can be had again. */
static bool is_reachable(struct world *world, struct inode *inode)
{
	world_push_out(world);
	return world_open(world, inode, HANDLE_PATH) == 0;
}

/* Whether its descriptor is kept: with all its names gone it is all there is. */
static bool is_pinned(struct world *world, struct inode *inode)
{
	char text[NAME_SIZE];

	/* What is pinned has no place. */
	return !inode_place(world->fs.inodes, inode, text) &&
		is_reachable(world, inode);
}

static void a_lookup_from_before_an_unlink_undoes_no_pin(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");
	struct sighting late = begin_lookup(world, world->root, "n", "n");

	take_away_at_root(world, file, "n");
	assert_ptr_equal(end_lookup(world, &late), file);
	assert_true(is_pinned(world, file));
	/* It counted as a lookup all the same. */
	world_forget(world, file);
	assert_true(is_pinned(world, file));
	world_forget(world, file);
	assert_int_equal(world_figures(world).known, 1);
}

static void a_lookup_during_an_unlink_undoes_no_pin(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");
	struct sighting early = begin_lookup(world, world->root, "n", "n"), late;

	hold(world, file);
	end_lookup(world, &early);
	late = begin_lookup(world, world->root, "n", "n");
	tree_remove(world_path(world, "n"));
	end_lookup(world, &late);
	assert_true(is_reachable(world, file));
	inode_lost_name(world->fs.inodes, file, world->root, "n");
	release(world, file);
	assert_true(is_pinned(world, file));
}

static void a_lookup_from_before_a_rename_sets_no_place(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");
	struct inode *d = world_find(world, world->root, "d");
	struct sighting late = begin_lookup(world, world->root, "n", "n"), later;

	hold(world, file);
	assert_int_equal(rename(world_path(world, "n"), world_path(world, "d/m")), 0);
	later = begin_lookup(world, d, "d/m", "m");
	inode_moved(world->fs.inodes, file, world->root, "n",
		    inode_name_create(d, "m"));
	release(world, file);
	end_lookup(world, &late);
	assert_place(world, file, d, "m");
	end_lookup(world, &later);
	assert_place(world, file, d, "m");
	assert_true(is_reachable(world, file));
	/* A lookup from after it does: it was moved on behind the mount. */
	assert_int_equal(rename(world_path(world, "d/m"), world_path(world, "o")), 0);
	assert_ptr_equal(world_find(world, world->root, "o"), file);
	assert_place(world, file, world->root, "o");
}

static void what_was_replaced_is_pinned_whatever_was_seen_before(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n"), *other;
	struct sighting late = begin_lookup(world, world->root, "n", "n");

	tree_write(world_path(world, "o"), "other", -1);
	other = world_find(world, world->root, "o");
	hold(world, file);
	hold(world, other);
	assert_int_equal(rename(world_path(world, "o"), world_path(world, "n")), 0);
	inode_lost_name(world->fs.inodes, file, world->root, "n");
	inode_moved(world->fs.inodes, other, world->root, "o",
		    inode_name_create(world->root, "n"));
	release(world, file);
	release(world, other);
	assert_ptr_equal(end_lookup(world, &late), file);
	assert_true(is_pinned(world, file));
	assert_place(world, other, world->root, "n");
	assert_true(is_reachable(world, other));
}

static void a_removal_that_fails_changes_nothing(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");

	hold(world, file);
	release(world, file);
	assert_place(world, file, world->root, "n");
	add_link(world, "n", "second");
	take_away_at_root(world, file, "n");
	assert_true(is_pinned(world, file));
	/* Nor does one of a name that nobody has looked up yet. */
	hold(world, file);
	release(world, file);
	assert_true(is_pinned(world, file));
	/* Found by it, it is no longer. */
	assert_ptr_equal(world_find(world, world->root, "second"), file);
	tree_remove(world_path(world, "second"));
	assert_false(is_reachable(world, file));
}

static void with_another_name_nothing_is_pinned(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");
	struct inode *d = world_find(world, world->root, "d");

	add_link(world, "n", "d/m");
	/* Whichever goes, the one that was seen last or the other. */
	assert_ptr_equal(world_find(world, d, "m"), file);
	take_away(world, file, d, "d/m", "m");
	assert_place(world, file, world->root, "n");
	add_link(world, "n", "d/m");
	assert_ptr_equal(world_find(world, d, "m"), file);
	take_away_at_root(world, file, "n");
	assert_place(world, file, d, "m");
	assert_true(is_reachable(world, file));
	take_away(world, file, d, "d/m", "m");
	assert_true(is_pinned(world, file));
}

static void a_name_that_went_behind_the_mount_does_not_count(void **state)
{
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");

	add_link(world, "n", "second");
	add_link(world, "n", "third");
	world_find(world, world->root, "second");
	world_find(world, world->root, "third");
	tree_remove(world_path(world, "second"));
	tree_write(world_path(world, "second"), "another file", -1);
	take_away_at_root(world, file, "third");
	assert_place(world, file, world->root, "n");
	world_find(world, world->root, "second");
	add_link(world, "n", "third");
	world_find(world, world->root, "third");
	tree_remove(world_path(world, "n"));
	take_away_at_root(world, file, "third");
	assert_true(is_pinned(world, file));
}

/* cp -al, and all of it removed again: as many as there are descriptors. */
static void links_do_not_use_up_the_pins(void **state)
{
	enum { COUNT = 3 * LIMIT };
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d"), *files[COUNT];
	char name[16], copy[16];

	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "%d", i);
		snprintf(copy, sizeof(copy), "d/%d", i);
		tree_write(world_path(world, name), "text", -1);
		files[i] = world_find(world, world->root, name);
		add_link(world, name, copy);
		assert_ptr_equal(world_find(world, d, name), files[i]);
	}
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "%d", i);
		snprintf(copy, sizeof(copy), "d/%d", i);
		take_away(world, files[i], d, copy, name);
	}
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(world_open(world, files[i], HANDLE_READ), 0);
}

static void a_directory_that_was_removed_is_pinned(void **state)
{
	struct world *world = *state;
	struct inode *d = world_find(world, world->root, "d");
	struct sighting late = begin_lookup(world, world->root, "d", "d");

	take_away_at_root(world, d, "d");
	end_lookup(world, &late);
	assert_true(is_pinned(world, d));
	/* Its successor is another one. */
	assert_int_equal(mkdir(world_path(world, "d"), 0755), 0);
	assert_ptr_not_equal(world_find(world, world->root, "d"), d);
}

/* Names are remembered with their directories, but no more than a few. */
static void few_names_are_remembered(void **state)
{
	enum { DIRECTORIES = 40 };
	struct world *world = *state;
	struct inode *file = world_find(world, world->root, "n");
	uint64_t number = inode_number(file);
	char path[16];

	world_forget(world, world_find(world, world->root, "d"));
	for (int i = 0; i < DIRECTORIES; i++) {
		struct inode *dir;

		snprintf(path, sizeof(path), "d%d", i);
		assert_int_equal(mkdir(world_path(world, path), 0755), 0);
		dir = world_find(world, world->root, path);
		snprintf(path, sizeof(path), "d%d/n", i);
		add_link(world, "n", path);
		assert_ptr_equal(world_find(world, dir, "n"), file);
		world_forget(world, dir);
	}
	assert_in_range(world_figures(world).known, 3, 12);
	/* Of one that has a single name again, only that is. */
	for (int i = 0; i < DIRECTORIES; i++) {
		snprintf(path, sizeof(path), "d%d/n", i);
		tree_remove(world_path(world, path));
	}
	world_find(world, world->root, "n");
	assert_int_equal(world_figures(world).known, 2);
	inode_forget(world->fs.inodes, number, DIRECTORIES + 2);
	assert_int_equal(world_figures(world).known, 1);
}

struct race {
	struct world *world;
	struct inode *file;
	_Atomic int errors;
	_Atomic bool done;
};

/* One takes the name away and gives it back, the others look it up all the time. */
static void race(void *data, int index)
{
	struct race *race = data;
	struct world *world = race->world;
	struct inode *inode;

	for (int i = 0; index == 0 && i < 2000; i++) {
		race->errors += inode_hold(world->fs.inodes, race->file, true) != 0;
		race->errors += renameat(world->fs.source.fd, "n",
					 world->fs.source.fd, "away") != 0;
		inode_lost_name(world->fs.inodes, race->file, world->root, "n");
		inode_release(world->fs.inodes, race->file);
		/* To the table it is now as an unlinked file: only its descriptor
		 * leads to it. */
		inode_close(world->fs.inodes, race->file);
		race->errors += world_open(world, race->file, HANDLE_READ) != 0;
		race->errors += renameat(world->fs.source.fd, "away",
					 world->fs.source.fd, "n") != 0;
		race->errors += world_lookup(world, world->root, "n", &inode) != 0 ||
			inode != race->file;
		inode_put(world->fs.inodes, inode);
	}
	if (index == 0)
		race->done = true;
	while (!race->done) {
		int err = world_lookup(world, world->root, "n", &inode);

		race->errors += err != 0 && err != -ENOENT;
		if (!err)
			inode_put(world->fs.inodes, inode);
	}
}

static void racing_lookups_never_lose_the_file(void **state)
{
	struct race racing = { .world = *state };

	racing.file = world_find(racing.world, racing.world->root, "n");
	unit_threads(3, race, &racing);
	assert_int_equal(racing.errors, 0);
	assert_int_equal(world_figures(racing.world).known, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_lookup_from_before_an_unlink_undoes_no_pin),
		T(a_lookup_during_an_unlink_undoes_no_pin),
		T(a_lookup_from_before_a_rename_sets_no_place),
		T(what_was_replaced_is_pinned_whatever_was_seen_before),
		T(a_removal_that_fails_changes_nothing),
		T(with_another_name_nothing_is_pinned),
		T(a_name_that_went_behind_the_mount_does_not_count),
		T(links_do_not_use_up_the_pins),
		T(a_directory_that_was_removed_is_pinned),
		T(few_names_are_remembered),
		T(racing_lookups_never_lose_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
