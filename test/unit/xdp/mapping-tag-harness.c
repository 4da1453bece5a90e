/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Records on standard input: 16 bytes of key, 88 bytes of header (48 or 84 of them its own), u32 0: IPv4, 1: IPv6. Out: tag, whether the header's is right, hash of ten words. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <linux/types.h>

#include "mapping-header.h"

struct record {
	struct siphash_key key;
	__u8 header[88];
	__u32 six;
	__u32 reserved;
};

int main(void)
{
	struct record record;

	while (fread(&record, sizeof(record), 1, stdin) == 1) {
		union mapping_header4 four;
		union mapping_header6 six = {};
		__u32 words[10];
		__u64 out[3];

		memcpy(&four, record.header, MAPPING_HEADER4_BYTES);
		memcpy(&six, record.header, MAPPING_HEADER6_BYTES);
		memcpy(words, record.header, sizeof(words));
		out[1] = record.six ? mapping_tag_right6(&record.key, &six) : mapping_tag_right4(&record.key, &four);
		if (record.six)
			mapping_sign6(&record.key, &six);
		else
			mapping_sign4(&record.key, &four);
		out[0] = record.six ? six.tag[0] | (__u64)six.tag[1] << 32 : four.tag[0] | (__u64)four.tag[1] << 32;
		out[2] = half_siphash13(record.key.low, record.key.high, words, 10);
		fwrite(out, sizeof(out), 1, stdout);
	}
	return 0;
}
