/*
 * The ledger of a store that several daemons share: limits hold for all of them.
 */
#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "ledger.h"

struct fixed {
	char *dir;
	int root, before;
	struct ledger *one, *other;	/* as two daemons have it */
};

static int set_up(void **state)
{
	static struct fixed fixed;
	bool is_new = false;

	fixed.before = unit_descriptors();
	fixed.dir = unit_scratch();
	fixed.root = open(fixed.dir, O_PATH | O_CLOEXEC);
	*state = &fixed;
	if (fixed.root < 0 || ledger_open(&fixed.one, fixed.root, &is_new) || !is_new)
		return -1;
	return ledger_open(&fixed.other, fixed.root, &is_new) || is_new;
}

static int tear_down(void **state)
{
	struct fixed *fixed = *state;

	ledger_close(fixed->one);
	ledger_close(fixed->other);
	ledger_close(NULL);
	close(fixed->root);
	unit_remove(fixed->dir);
	return unit_descriptors() == fixed->before ? 0 : -1;
}

static bool claim(struct ledger *ledger, uint64_t bytes, uint64_t inodes)
{
	const struct ledger_sums claim = { bytes, inodes }, limit = { 1000, 10 };

	return ledger_claim(ledger, &claim, &limit);
}

static void assert_sums(struct fixed *fixed, uint64_t bytes, uint64_t inodes)
{
	struct ledger_sums one = ledger_read(fixed->one);
	struct ledger_sums other = ledger_read(fixed->other);

	assert_true(one.bytes == bytes && one.inodes == inodes);
	assert_true(other.bytes == bytes && other.inodes == inodes);
}

static void claims_end_at_the_limit_for_all(void **state)
{
	struct fixed *fixed = *state;

	assert_true(claim(fixed->one, 600, 1));
	assert_true(claim(fixed->other, 400, 1));
	assert_false(claim(fixed->one, 1, 0));
	assert_sums(fixed, 1000, 2);
	assert_true(claim(fixed->other, 0, 8));
	assert_false(claim(fixed->other, 0, 1));
	/* Both or neither. */
	ledger_correct(fixed->one, -500, 0);
	assert_false(claim(fixed->other, 100, 1));
	assert_sums(fixed, 500, 10);
	assert_false(claim(fixed->one, UINT64_MAX, 0));
	assert_true(claim(fixed->one, 0, 0));
	assert_sums(fixed, 500, 10);
}

static void corrections_never_go_below_nothing(void **state)
{
	struct fixed *fixed = *state;

	assert_true(claim(fixed->one, 100, 3));
	ledger_correct(fixed->other, -200, -5);
	assert_sums(fixed, 0, 0);
	ledger_correct(fixed->other, 5000, 50);
	assert_sums(fixed, 5000, 50);
	/* Beyond the limit, which is a smaller one than another daemon's, say. */
	assert_false(claim(fixed->one, 1, 0));
	assert_false(claim(fixed->one, 0, 1));
}

static void one_counts_at_a_time(void **state)
{
	struct fixed *fixed = *state;

	assert_int_equal(ledger_lock(fixed->one), 0);
	assert_int_equal(ledger_lock(fixed->other), -EWOULDBLOCK);
	ledger_unlock(fixed->one);
	assert_int_equal(ledger_lock(fixed->other), 0);
	ledger_unlock(fixed->other);
}

static void claims_are_counted(void **state)
{
	struct fixed *fixed = *state;
	uint64_t before = ledger_claims(fixed->one);

	claim(fixed->other, 1, 1);
	assert_true(ledger_claims(fixed->one) == before + 1);
}

enum { THREADS = 4, CLAIMS = 20000 };

static void *claim_and_give_back(void *data)
{
	struct ledger *ledger = data;

	for (int i = 0; i < CLAIMS; i++)
		if (claim(ledger, 300, 1))
			ledger_correct(ledger, -300, -1);
	return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
	struct fixed *fixed = *state;
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, claim_and_give_back,
						i % 2 ? fixed->one : fixed->other), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_sums(fixed, 0, 0);
}

static void a_removed_one_is_made_anew(void **state)
{
	struct fixed *fixed = *state;
	struct ledger *third;
	bool is_new = false;

	assert_true(claim(fixed->one, 100, 1));
	ledger_remove(fixed->root);
	assert_int_equal(ledger_open(&third, fixed->root, &is_new), 0);
	assert_true(is_new);
	assert_true(ledger_read(third).bytes == 0);
	ledger_close(third);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(claims_end_at_the_limit_for_all),
		TEST(corrections_never_go_below_nothing),
		TEST(one_counts_at_a_time),
		TEST(claims_are_counted),
		TEST(nothing_is_lost_between_threads),
		TEST(a_removed_one_is_made_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
