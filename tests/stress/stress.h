/*
 * What the stress tests share: how much they do, processes that go on until they are
 * stopped, and latencies.
 */
#ifndef TESTS_STRESS_H
#define TESTS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* @normal, times the environment's PYCACHEFS_STRESS_ROUNDS where that is set: for
 * runs of hours. */
int stress_rounds(int normal);

/* For the fixture: memory, where there is some, since a disk would be what is slow. */
const char *stress_scratch(void);

/* Milliseconds of CLOCK_MONOTONIC. */
double stress_now(void);

/* Memory of @size bytes, zeroed, that child processes share; never freed. */
void *stress_share(size_t size);

/*
 * Runs @step(data, index) again and again in @count child processes (at most 8), from
 * now to stress_stop().  A step must not assert: it returns false for a failure, which
 * ends its process and fails the test in stress_stop().
 */
void stress_start(int count, bool (*step)(void *data, int index), void *data);
void stress_stop(void);
/* Ends what runs after a failed test; for teardown functions. */
void stress_abort(void);

/* How long changes took to be seen. */
struct latencies {
	double *values;		/* owned */
	int count, room;
};
void latencies_add(struct latencies *latencies, double milliseconds);
/*
 * Prints median and worst, and frees them.  With the environment's
 * PYCACHEFS_STRESS_FIGURES set, which wants an idle machine, the test fails when they
 * are above these.
 */
void latencies_end(struct latencies *latencies, const char *what, double median,
		   double worst);

#endif
