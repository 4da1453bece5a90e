/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SipHash-2-4 (Aumasson, Bernstein, 2012) over words of eight bytes, and HalfSipHash-1-3. The agent's halves: dataplane/siphash.ts, half-siphash.ts. */
#ifndef SHUNT_SIPHASH_H
#define SHUNT_SIPHASH_H

#include <linux/types.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* 128 bits as they lie in memory: four little-endian words of the agent's, two of these. */
struct siphash_key {
	__u64 low, high;
};

struct siphash {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotate_left64(__u64 word, __u32 by)
{
	return word << by | word >> (64 - by);
}

static __always_inline __u32 rotate_left32(__u32 word, __u32 by)
{
	return word << by | word >> (32 - by);
}

static __always_inline void siphash_round(struct siphash *s)
{
	s->v0 += s->v1;
	s->v1 = rotate_left64(s->v1, 13) ^ s->v0;
	s->v0 = rotate_left64(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotate_left64(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotate_left64(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotate_left64(s->v1, 17) ^ s->v2;
	s->v2 = rotate_left64(s->v2, 32);
}

static __always_inline void siphash_begin(struct siphash *s, const struct siphash_key *key)
{
	s->v0 = key->low ^ 0x736f6d6570736575ull;
	s->v1 = key->high ^ 0x646f72616e646f6dull;
	s->v2 = key->low ^ 0x6c7967656e657261ull;
	s->v3 = key->high ^ 0x7465646279746573ull;
}

/* The next eight bytes, as they lie in memory. */
static __always_inline void siphash_word(struct siphash *s, __u64 word)
{
	s->v3 ^= word;
	siphash_round(s);
	siphash_round(s);
	s->v0 ^= word;
}

/* `rest`: the last `bytes` % 8 bytes, the others 0. `bytes`: of all. */
static __always_inline __u64 siphash_end(struct siphash *s, __u64 rest, __u32 bytes)
{
	siphash_word(s, rest | (__u64)bytes << 56);
	s->v2 ^= 0xff;
	siphash_round(s);
	siphash_round(s);
	siphash_round(s);
	siphash_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static __always_inline void half_siphash_round(__u32 *v0, __u32 *v1, __u32 *v2, __u32 *v3)
{
	*v0 += *v1;
	*v1 = rotate_left32(*v1, 5) ^ *v0;
	*v0 = rotate_left32(*v0, 16);
	*v2 += *v3;
	*v3 = rotate_left32(*v3, 8) ^ *v2;
	*v0 += *v3;
	*v3 = rotate_left32(*v3, 7) ^ *v0;
	*v2 += *v1;
	*v1 = rotate_left32(*v1, 13) ^ *v2;
	*v2 = rotate_left32(*v2, 16);
}

/* Of `count` words, a constant. */
static __always_inline __u32 half_siphash13(__u32 k0, __u32 k1, const __u32 *words, __u32 count)
{
	__u32 v0 = k0, v1 = k1, v2 = k0 ^ 0x6c796765, v3 = k1 ^ 0x74656462;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < count; i++) {
		v3 ^= words[i];
		half_siphash_round(&v0, &v1, &v2, &v3);
		v0 ^= words[i];
	}
	v3 ^= count << 26;
	half_siphash_round(&v0, &v1, &v2, &v3);
	v0 ^= count << 26;
	v2 ^= 0xff;
	half_siphash_round(&v0, &v1, &v2, &v3);
	half_siphash_round(&v0, &v1, &v2, &v3);
	half_siphash_round(&v0, &v1, &v2, &v3);
	return v1 ^ v3;
}

#endif
