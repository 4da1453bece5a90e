/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One access to memory that others read and write at the same time. A test may put a switch of threads at each of the five. */
#ifndef SHUNT_ROUTE_ACCESS_H
#define SHUNT_ROUTE_ACCESS_H

#define ROUTE_INLINE static inline __attribute__((always_inline, unused))

#ifndef ROUTE_LOAD
#define ROUTE_LOAD(p) (*(const volatile __typeof__(*(p)) *)(p))
#define ROUTE_STORE(p, v) (*(volatile __typeof__(*(p)) *)(p) = (v))
#define ROUTE_STAMP(p, v) (*(volatile __u16 *)(p) = (v))
#define ROUTE_CAS(p, was, is) __sync_val_compare_and_swap((p), (was), (is))
#define ROUTE_SWAP(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#endif

/* `p`, not to be read before `v` was: nothing to do on x86; a BPF program elsewhere makes the address depend on `v`. */
#if defined(__x86_64__) || defined(__TARGET_ARCH_x86)
#define ROUTE_AFTER(p, v) ({ asm volatile("" ::: "memory"); (p); })
#elif defined(__bpf__)
#define ROUTE_AFTER(p, v) ({ __u64 zero_ = (v); asm volatile("%0 &= 0" : "+r"(zero_)); (__typeof__(p))((char *)(p) + zero_); })
#else
#define ROUTE_AFTER(p, v) ({ __atomic_thread_fence(__ATOMIC_ACQUIRE); (p); })
#endif

#ifdef __clang__
#define ROUTE_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define ROUTE_NO_UNROLL
#endif

#endif
