/*
 * The ledger of a store in a directory.  Who counts is told in room.c.
 */
#include "ledger.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util.h"

#define LEDGER_NAME "ledger"

enum { LEDGER_SIZE = 4096 };

/* What the file holds. */
struct page {
	_Atomic uint64_t bytes, inodes, claims;
};

struct ledger {
	struct page *page;	/* mapped */
	int fd;			/* owned */
};

int ledger_open(struct ledger **ret, int root, bool *ret_new)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	bool is_new = false;
	int err = 0;

	if (!ledger)
		return -ENOMEM;
	ledger->page = MAP_FAILED;
	ledger->fd = openat(root, LEDGER_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (ledger->fd < 0 && errno == ENOENT) {
		ledger->fd = openat(root, LEDGER_NAME, O_RDWR | O_CREAT | O_NOFOLLOW |
				    O_CLOEXEC, 0600);
		is_new = true;
	}
	/* Whatever the umask was: others open it too. */
	if (ledger->fd >= 0 && is_new)
		(void)fchmod(ledger->fd, 0600);
	/* Memory of its own now, since a tmpfs that is full later gives SIGBUS. */
	if (ledger->fd < 0 || fallocate(ledger->fd, 0, 0, LEDGER_SIZE) < 0)
		err = -errno;
	if (!err)
		ledger->page = mmap(NULL, LEDGER_SIZE, PROT_READ | PROT_WRITE,
				    MAP_SHARED, ledger->fd, 0);
	if (!err && ledger->page == MAP_FAILED)
		err = -errno;
	if (err) {
		ledger_close(ledger);
		return err;
	}
	*ret_new = is_new;
	*ret = ledger;
	return 0;
}

void ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return;
	if (ledger->page != MAP_FAILED)
		munmap(ledger->page, LEDGER_SIZE);
	cleanup_close(&ledger->fd);
	free(ledger);
}

void ledger_remove(int root)
{
	(void)unlinkat(root, LEDGER_NAME, 0);
}

struct ledger_sums ledger_read(const struct ledger *ledger)
{
	return (struct ledger_sums){
		.bytes = atomic_load(&ledger->page->bytes),
		.inodes = atomic_load(&ledger->page->inodes),
	};
}

static bool claim_one(_Atomic uint64_t *sum, uint64_t claim, uint64_t limit)
{
	uint64_t now = atomic_load(sum);

	if (!claim)
		return true;
	do {
		if (now > limit || claim > limit - now)
			return false;
	} while (!atomic_compare_exchange_weak(sum, &now, now + claim));
	return true;
}

bool ledger_claim(struct ledger *ledger, const struct ledger_sums *claim,
		  const struct ledger_sums *limit)
{
	struct page *page = ledger->page;

	atomic_fetch_add_explicit(&page->claims, 1, memory_order_relaxed);
	if (!claim_one(&page->bytes, claim->bytes, limit->bytes))
		return false;
	if (claim_one(&page->inodes, claim->inodes, limit->inodes))
		return true;
	atomic_fetch_sub(&page->bytes, claim->bytes);
	return false;
}

static void correct_one(_Atomic uint64_t *sum, int64_t by)
{
	uint64_t now = atomic_load(sum), next;

	/* What others have corrected meanwhile must not wrap it around. */
	do
		next = by < 0 && now < (uint64_t)-by ? 0 : now + (uint64_t)by;
	while (!atomic_compare_exchange_weak(sum, &now, next));
}

void ledger_correct(struct ledger *ledger, int64_t bytes, int64_t inodes)
{
	correct_one(&ledger->page->bytes, bytes);
	correct_one(&ledger->page->inodes, inodes);
}

uint64_t ledger_claims(const struct ledger *ledger)
{
	return atomic_load_explicit(&ledger->page->claims, memory_order_relaxed);
}

int ledger_lock(struct ledger *ledger)
{
	return flock(ledger->fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

void ledger_unlock(struct ledger *ledger)
{
	(void)flock(ledger->fd, LOCK_UN);
}
