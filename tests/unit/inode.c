/*
 * The inode table: one inode a file, numbers that never come back, and inodes that
 * live as long as somebody needs them.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inode.h"
#include "inode_names.h"

static int set_up(void **state)
{
	*state = world_create(&(struct world_options){ .without_store = true });
	return 0;
}

static int tear_down(void **state)
{
	world_destroy(*state);
	return 0;
}

/* An identity that no file here has, for tests of the table alone. */
static struct file_id made_up(uint64_t number)
{
	return (struct file_id){ .dev = 1, .ino = number, .birth = 1 };
}

/* Looks up what has no descriptor; the reference is given back. */
static struct inode *add(struct world *world, uint64_t number, mode_t mode,
			 struct inode *parent, const char *name)
{
	struct sighting seen = {
		.id = made_up(number), .mode = mode, .links = 1, .parent = parent,
		.name = name, .since = inode_events(world->fs.inodes), .fd = -1,
	};
	struct inode *inode;

	assert_int_equal(inode_lookup(world->fs.inodes, &seen, &inode), 0);
	inode_put(world->fs.inodes, inode);
	return inode;
}

static void forget(struct world *world, uint64_t number, uint64_t count)
{
	inode_forget(world->fs.inodes, number, count);
}

static void one_file_is_one_inode(void **state)
{
	struct world *world = *state;
	struct inode *file, *other, *directory;

	tree_write(world_path(world, "file"), "", -1);
	tree_write(world_path(world, "other"), "", -1);
	tree_write(world_path(world, "d/x"), "", -1);
	assert_int_equal(link(world_path(world, "file"),
			      world_path(world, "d/hard")), 0);
	assert_int_equal(symlink("file", world_path(world, "soft")), 0);
	file = world_find(world, world->root, "file");
	other = world_find(world, world->root, "other");
	directory = world_find(world, world->root, "d");
	assert_ptr_not_equal(file, other);
	assert_ptr_equal(world_find(world, world->root, "file"), file);
	assert_ptr_equal(world_find(world, directory, "hard"), file);
	assert_ptr_not_equal(world_find(world, world->root, "soft"), file);
	assert_int_equal(world_figures(world).known, 5);

	assert_int_equal(inode_kind(file), INODE_SOURCE);
	assert_int_equal(inode_type(file), S_IFREG);
	assert_int_equal(inode_type(directory), S_IFDIR);
	struct inode *found = inode_find(world->fs.inodes, INODE_SOURCE,
					 inode_id(file));
	assert_ptr_equal(found, file);
	inode_put(world->fs.inodes, found);
	/* The same identity in the other tree is another file. */
	assert_null(inode_find(world->fs.inodes, INODE_STORE, inode_id(file)));
	assert_null(inode_find(world->fs.inodes, INODE_SHADOW, inode_id(file)));
}

static void a_number_is_never_given_twice(void **state)
{
	enum { ROUNDS = 2000, KEPT = 3 };
	struct world *world = *state;
	uint64_t *seen = calloc(ROUNDS, sizeof(*seen));

	assert_non_null(seen);
	for (int i = 0; i < KEPT; i++)
		add(world, (uint64_t)(100 + i), S_IFREG, world->root, "kept");
	for (int i = 0; i < ROUNDS; i++) {
		/* The same file again and again, beside ever different ones. */
		struct inode *inode = add(world, i % 2 ? 7 : (uint64_t)i + 1000,
					  S_IFREG, world->root, "x");
		struct inode *got;

		seen[i] = inode_number(inode);
		got = inode_get(world->fs.inodes, seen[i]);
		assert_ptr_equal(got, inode);
		inode_put(world->fs.inodes, got);
		forget(world, seen[i], 1);
		assert_int_equal(world_figures(world).known, 1 + KEPT);
	}
	for (int i = 0; i < ROUNDS; i++) {
		assert_true(seen[i] > INODE_ROOT);
		assert_null(inode_get(world->fs.inodes, seen[i]));
		for (int j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
	}
	free(seen);
}

static void an_unknown_number_is_nobodys(void **state)
{
	struct world *world = *state;
	uint64_t number = inode_number(add(world, 5, S_IFREG, world->root, "x"));
	const uint64_t unknown[] = {
		0, number + 1, number + (UINT64_C(1) << 32), number << 32, 12345,
		UINT32_MAX, UINT64_MAX, INODE_ROOT + (UINT64_C(1) << 32),
		UINT64_C(1) << 32, UINT64_C(1) << 63,
	};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_null(inode_get(world->fs.inodes, unknown[i]));
		/* And nothing comes of forgetting it. */
		forget(world, unknown[i], 1);
	}
	assert_int_equal(world_figures(world).known, 2);
	assert_int_equal(inode_number(world->root), INODE_ROOT);
}

static void an_inode_goes_when_its_lookups_are_forgotten(void **state)
{
	struct world *world = *state;
	struct inode *inode;
	uint64_t number;

	for (int i = 0; i < 5; i++)
		inode = add(world, 5, S_IFREG, world->root, "x");
	number = inode_number(inode);
	forget(world, number, 2);
	forget(world, number, 2);
	assert_int_equal(world_figures(world).known, 2);
	forget(world, number, 1);
	assert_int_equal(world_figures(world).known, 1);

	/* A request that is under way keeps it. */
	number = inode_number(add(world, 5, S_IFREG, world->root, "x"));
	inode = inode_get(world->fs.inodes, number);
	inode_put(world->fs.inodes, inode_ref(inode));
	forget(world, number, 1);
	assert_int_equal(world_figures(world).known, 2);
	assert_int_equal(inode_number(inode), number);
	/* Looked up again meanwhile, it is the same. */
	assert_ptr_equal(add(world, 5, S_IFREG, world->root, "x"), inode);
	inode_put(world->fs.inodes, inode);
	assert_int_equal(world_figures(world).known, 2);
	forget(world, number, 1);
	assert_int_equal(world_figures(world).known, 1);
	/* The root never goes. */
	forget(world, INODE_ROOT, 1000000);
	assert_int_equal(world_figures(world).known, 1);
	inode_put(world->fs.inodes, NULL);
}

static void a_child_keeps_its_parents(void **state)
{
	struct world *world = *state;
	struct inode *a = add(world, 1, S_IFDIR, world->root, "a");
	struct inode *b = add(world, 2, S_IFDIR, a, "b");
	struct inode *c = add(world, 3, S_IFREG, b, "c"), *parent;
	uint64_t number_of_a = inode_number(a);
	char name[NAME_SIZE];

	forget(world, inode_number(a), 1);
	forget(world, inode_number(b), 1);
	assert_int_equal(world_figures(world).known, 4);
	parent = inode_place(world->fs.inodes, c, name);
	assert_ptr_equal(parent, b);
	assert_string_equal(name, "c");
	inode_put(world->fs.inodes, parent);
	/* Looked up again they are still the same. */
	assert_int_equal(inode_number(add(world, 1, S_IFDIR, world->root, "a")),
			 number_of_a);
	forget(world, number_of_a, 1);
	forget(world, inode_number(c), 1);
	assert_int_equal(world_figures(world).known, 1);
}

/* However deep: a chain that goes by its last member. */
static void a_chain_of_any_length_goes_at_once(void **state)
{
	enum { DEPTH = 200000 };
	struct world *world = *state;
	struct inode *at = world->root, *next;

	for (int i = 0; i < DEPTH; i++) {
		next = add(world, (uint64_t)i + 1, S_IFDIR, at, "d");
		if (at != world->root)
			forget(world, inode_number(at), 1);
		at = next;
	}
	assert_int_equal(world_figures(world).known, DEPTH + 1);
	forget(world, inode_number(at), 1);
	assert_int_equal(world_figures(world).known, 1);
}

/* What a rename does. */
static void move(struct world *world, struct inode *inode, struct inode *parent,
		 const char *name)
{
	char text[NAME_SIZE];
	struct inode *from = inode_place(world->fs.inodes, inode, text);
	struct inode_name *to = inode_name_create(parent, name);

	assert_non_null(to);
	inode_moved(world->fs.inodes, inode, from, text, to);
	inode_put(world->fs.inodes, from);
}

static void a_moved_inode_has_its_new_place(void **state)
{
	struct world *world = *state;
	struct inode *a = add(world, 1, S_IFDIR, world->root, "a");
	struct inode *b = add(world, 2, S_IFDIR, world->root, "b");
	struct inode *x = add(world, 3, S_IFREG, a, "x"), *parent;
	char name[NAME_SIZE];

	move(world, x, b, "a name of its own");
	parent = inode_place(world->fs.inodes, x, name);
	assert_ptr_equal(parent, b);
	assert_string_equal(name, "a name of its own");
	inode_put(world->fs.inodes, parent);
	/* It keeps the new parent, no longer the old one. */
	forget(world, inode_number(a), 1);
	assert_int_equal(world_figures(world).known, 3);
	forget(world, inode_number(b), 1);
	assert_int_equal(world_figures(world).known, 3);
	move(world, x, world->root, "x");
	assert_int_equal(world_figures(world).known, 2);
	/* A lookup elsewhere moves it as well: it was moved behind the mount. */
	a = add(world, 1, S_IFDIR, world->root, "a");
	assert_ptr_equal(add(world, 3, S_IFREG, a, "y"), x);
	parent = inode_parent(world->fs.inodes, x);
	assert_ptr_equal(parent, a);
	inode_put(world->fs.inodes, parent);
	forget(world, inode_number(x), 2);
	forget(world, inode_number(a), 1);
	assert_int_equal(world_figures(world).known, 1);
}

static void the_root_has_no_place(void **state)
{
	struct world *world = *state;
	char name[NAME_SIZE] = "x";

	assert_null(inode_parent(world->fs.inodes, world->root));
	assert_null(inode_place(world->fs.inodes, world->root, name));
	assert_string_equal(name, "");
	assert_int_equal(inode_type(world->root), S_IFDIR);
	assert_false(inode_parent_watched(world->fs.inodes, world->root));
}

/* The source mounted in itself, say: below it lies the root once more. */
static void the_root_stays_the_root_when_found_below(void **state)
{
	struct world *world = *state;
	struct inode *found, *parent;
	struct handle *handle;
	struct sighting seen = {
		.id = *inode_id(world->root), .mode = S_IFDIR, .links = 1,
		.parent = world->root, .name = "sub", .fd = -1,
	};

	assert_int_equal(inode_lookup(world->fs.inodes, &seen, &found), 0);
	assert_ptr_equal(found, world->root);
	inode_put(world->fs.inodes, found);
	parent = inode_parent(world->fs.inodes, world->root);
	bool has_parent = parent != NULL;
	inode_put(world->fs.inodes, parent);
	assert_false(has_parent);
	for (uint64_t i = 0; i < 5000; i++) {
		char name[16];

		/* More than the table keeps open. */
		snprintf(name, sizeof(name), "%d", (int)i);
		tree_write(world_path(world, name), "", -1);
		world_find(world, world->root, name);
	}
	assert_int_equal(inode_open(world->fs.inodes, world->root, HANDLE_PATH,
				    &handle), 0);
	handle_put(handle);
}

static void a_retired_inode_is_found_by_number_only(void **state)
{
	struct world *world = *state;
	struct inode *old = add(world, 5, S_IFDIR, world->root, "x"), *got;
	struct file_id id = made_up(5);
	uint64_t number = inode_number(old);

	inode_retire(world->fs.inodes, old);
	inode_retire(world->fs.inodes, old);
	assert_null(inode_find(world->fs.inodes, INODE_SOURCE, &id));
	got = inode_get(world->fs.inodes, number);
	assert_ptr_equal(got, old);
	inode_put(world->fs.inodes, got);
	struct inode *new = add(world, 5, S_IFDIR, world->root, "x");
	assert_true(inode_number(new) != number);
	forget(world, number, 1);
	/* The successor does not go with it. */
	assert_ptr_equal(add(world, 5, S_IFDIR, world->root, "x"), new);
	assert_int_equal(world_figures(world).known, 2);
}

/* A filesystem that tells no births has used the number again. */
static void another_type_is_another_file(void **state)
{
	struct world *world = *state;
	struct inode *file = add(world, 5, S_IFREG | 0644, world->root, "x");
	struct inode *directory = add(world, 5, S_IFDIR | 0755, world->root, "x");

	assert_true(inode_number(file) != inode_number(directory));
	assert_int_equal(inode_type(file), S_IFREG);
	assert_int_equal(inode_type(directory), S_IFDIR);
	/* Mode bits are no type. */
	assert_ptr_equal(add(world, 5, S_IFDIR | 0700, world->root, "x"), directory);
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static void all_inodes_are_gone_through(void **state)
{
	enum { COUNT = 3000 };
	struct world *world = *state;
	uint64_t expected[COUNT / 2 + 1] = { INODE_ROOT }, numbers[COUNT / 2 + 1];
	size_t count = 0, kept = 1;
	uint32_t cursor = 0;
	struct inode *inode;

	for (uint64_t i = 0; i < COUNT; i++) {
		uint64_t number = inode_number(add(world, i, S_IFREG, world->root,
						   "x"));

		if (i % 2)
			forget(world, number, 1);
		else
			expected[kept++] = number;
	}
	while ((inode = inode_next(world->fs.inodes, &cursor))) {
		assert_true(count < kept);
		numbers[count++] = inode_number(inode);
		inode_put(world->fs.inodes, inode);
	}
	assert_int_equal(count, kept);
	qsort(numbers, count, sizeof(*numbers), by_value);
	qsort(expected, kept, sizeof(*expected), by_value);
	assert_memory_equal(numbers, expected, sizeof(expected));
}

static bool was_told_before(void *inode)
{
	return inode_told_ago(inode) >= 50;
}

/* What was looked up just now may not have come to the kernel: see forgetter.c. */
static void it_is_known_how_long_ago_a_file_was_looked_up(void **state)
{
	enum { TICK = 10 + 2 };		/* and what rounding takes */
	struct world *world = *state;
	uint64_t start = milliseconds();
	struct inode *inode = add(world, 1, S_IFREG, world->root, "a");

	for (int i = 0; i < 2; i++) {
		unsigned ago = inode_told_ago(inode);

		assert_in_range(ago, 0, milliseconds() - start + TICK);
		assert_true(eventually(10, was_told_before, inode));
		assert_true(milliseconds() - start + TICK >= 50);
		/* Found again, it is as if new. */
		start = milliseconds();
		assert_ptr_equal(add(world, 1, S_IFREG, world->root, "a"), inode);
	}
	forget(world, inode_number(inode), 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(one_file_is_one_inode),
		T(a_number_is_never_given_twice),
		T(an_unknown_number_is_nobodys),
		T(an_inode_goes_when_its_lookups_are_forgotten),
		T(a_child_keeps_its_parents),
		T(a_chain_of_any_length_goes_at_once),
		T(a_moved_inode_has_its_new_place),
		T(the_root_has_no_place),
		T(the_root_stays_the_root_when_found_below),
		T(a_retired_inode_is_found_by_number_only),
		T(another_type_is_another_file),
		T(all_inodes_are_gone_through),
		T(it_is_known_how_long_ago_a_file_was_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
