/*
 * What the stress tests share.
 */
#include "stress.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"

enum { MAX_CHILDREN = 8 };

static pid_t children[MAX_CHILDREN];
static int child_count;
static _Atomic bool *stop;

int stress_rounds(int normal)
{
	const char *times = getenv("PYCACHEFS_STRESS_ROUNDS");
	int factor = times ? atoi(times) : 1;

	return factor > 1 ? normal * factor : normal;
}

const char *stress_scratch(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NULL;
}

double stress_now(void)
{
	return seconds_now() * 1e3;
}

void *stress_share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

void stress_start(int count, bool (*step)(void *data, int index), void *data)
{
	assert_in_range(count, 1, MAX_CHILDREN);
	if (!stop)
		stop = stress_share(sizeof(*stop));
	*stop = false;
	fflush(NULL);
	for (int i = 0; i < count; i++) {
		pid_t child = fork();

		assert_true(child >= 0);
		if (child == 0) {
			bool fine = true;

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (fine && !*stop)
				fine = step(data, i);
			_exit(fine ? 0 : 1);
		}
		children[child_count++] = child;
	}
}

/* Returns how many have failed. */
static int reap(void)
{
	int failed = 0;

	while (child_count > 0) {
		int status;

		if (waitpid(children[--child_count], &status, 0) < 0 || status)
			failed++;
	}
	return failed;
}

void stress_stop(void)
{
	*stop = true;
	assert_int_equal(reap(), 0);
}

void stress_abort(void)
{
	for (int i = 0; i < child_count; i++)
		kill(children[i], SIGKILL);
	reap();
}

void latencies_add(struct latencies *latencies, double milliseconds)
{
	if (latencies->count == latencies->room) {
		latencies->room = latencies->room ? latencies->room * 2 : 1024;
		latencies->values = realloc(latencies->values, (size_t)latencies->room *
					    sizeof(*latencies->values));
		if (!latencies->values)
			abort();
	}
	latencies->values[latencies->count++] = milliseconds;
}

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

void latencies_end(struct latencies *latencies, const char *what, double median,
		   double worst)
{
	int count = latencies->count;
	double middle, last;

	assert_true(count > 0);
	qsort(latencies->values, (size_t)count, sizeof(*latencies->values), by_value);
	middle = latencies->values[count / 2];
	last = latencies->values[count - 1];
	print_message("%s: %d times, median %.2f ms, worst %.2f ms\n", what, count,
		      middle, last);
	free(latencies->values);
	*latencies = (struct latencies){ 0 };
	if (getenv("PYCACHEFS_STRESS_FIGURES")) {
		assert_true(middle <= median);
		assert_true(last <= worst);
	}
}
