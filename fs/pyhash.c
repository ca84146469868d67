/*
 * CPython's hash of a module's source: SipHash by Aumasson and Bernstein, keyed with
 * the magic number (Python/pyhash.c, _Py_KeyedHash()).  It guards against nothing but
 * chance, since everybody knows the key.
 */
#include "pyhash.h"

#include <endian.h>
#include <string.h>

/* CPython 3.11 begins here, 3.10 ends at 3439 (Lib/importlib/_bootstrap_external.py):
 * rounds for each word and at the end are 1 and 3 from then on, 2 and 4 before. */
enum { MAGIC_3_11 = 3450 };

struct state {
	uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static void mix(struct state *s, int rounds)
{
	while (rounds-- > 0) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rotate(s->v1, 13) ^ s->v0;
		s->v3 = rotate(s->v3, 16) ^ s->v2;
		s->v0 = rotate(s->v0, 32);
		s->v2 += s->v1;
		s->v0 += s->v3;
		s->v1 = rotate(s->v1, 17) ^ s->v2;
		s->v3 = rotate(s->v3, 21) ^ s->v0;
		s->v2 = rotate(s->v2, 32);
	}
}

static void take(struct state *s, uint64_t word, int rounds)
{
	s->v3 ^= word;
	mix(s, rounds);
	s->v0 ^= word;
}

uint64_t pyhash_source(uint32_t magic, const void *source, size_t size)
{
	int rounds = (magic & 0xffff) < MAGIC_3_11 ? 2 : 1;
	/* The key's second half is 0. */
	struct state s = {
		.v0 = magic ^ UINT64_C(0x736f6d6570736575),
		.v1 = UINT64_C(0x646f72616e646f6d),
		.v2 = magic ^ UINT64_C(0x6c7967656e657261),
		.v3 = UINT64_C(0x7465646279746573),
	};
	const unsigned char *at = source, *end = at + size;
	uint64_t word;

	for (; end - at >= 8; at += 8) {
		memcpy(&word, at, 8);
		take(&s, le64toh(word), rounds);
	}
	/* What is left, and the length in the highest byte. */
	word = (uint64_t)size << 56;
	for (int i = 0; at + i < end; i++)
		word |= (uint64_t)at[i] << (8 * i);
	take(&s, word, rounds);
	s.v2 ^= 0xff;
	mix(&s, rounds + 2);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
