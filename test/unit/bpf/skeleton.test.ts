import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { elfSections } from '../../../scripts/bpf/elf.ts'
import { loaderCalls, parseSkeleton } from '../../../scripts/bpf/skeleton.ts'

const it = suite('bpf/skeleton')

const struct = `struct tiny {
	struct bpf_loader_ctx ctx;
	struct {
		struct bpf_map_desc first;
		struct bpf_map_desc rodata;
	} maps;
	struct {
		struct bpf_prog_desc run;
	} progs;
};
`

it('takes names and blobs out of a header, with each escape', () => {
  const header = `${struct}
	opts.data_sz = 7;
	opts.data = (void *)"\\
A\\0\\x0a\\n\\
\\xff!\\0";
	opts.insns_sz = 2;
	opts.insns = (void *)"\\
\\xb7\\0";
`
  const { name, maps, programs, data, instructions } = parseSkeleton(header)
  assert.equal([name, maps, programs], ['tiny', ['first', 'rodata'], ['run']])
  assert.equal([...data], [0x41, 0, 10, 10, 0xff, 0x21, 0])
  assert.equal([...instructions], [0xb7, 0])
})

it('takes them out of the form of newer bpftools too', () => {
  const header = `${struct}
	static const char opts_data[] __attribute__((__aligned__(8))) = "\\
\\x01\\x02";
	static const char opts_insn[] __attribute__((__aligned__(8))) = "\\
\\x03";
	opts.data_sz = sizeof(opts_data) - 1;
`
  const { data, instructions } = parseSkeleton(header)
  assert.equal([[...data], [...instructions]], [[1, 2], [3]])
})

it('refuses a header of another form, and blobs of another length', () => {
  assert.throws(() => parseSkeleton('int x;'), /not a light skeleton/)
  assert.throws(() => parseSkeleton(struct), /another form/)
  const short = 'opts.data_sz = 3;\n opts.data = (void *)"A";\nopts.insns_sz = 1;\n opts.insns = (void *)"A";'
  assert.throws(() => parseSkeleton(struct + short), /1 bytes instead of 3/)
  const odd = 'opts.insns_sz = 1;\n opts.insns = (void *)"\\q";'
  assert.throws(() => parseSkeleton(struct + odd), /escape \\q/)
})

/** One instruction: code, target register, source register, immediate. */
const instruction = (code: number, target = 0, source = 0, immediate = 0): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes[0] = code
  bytes[1] = target | (source << 4)
  bytes.writeInt32LE(immediate, 4)
  return bytes
}
const call = (command: number, attribute: number): Buffer[] => [
  instruction(0xb7, 1, 0, command),
  instruction(0x18, 2, 6, 0),
  instruction(0, 0, 0, attribute),
  instruction(0xb7, 3, 0, 72),
  instruction(0x85, 0, 0, 166),
]

it('finds each call of bpf(2) in a loader, whatever constants look like one', () => {
  const code = [
    instruction(0xb7, 6, 0, 0),
    instruction(0x18, 1, 6, 166),
    instruction(0x85, 0, 0, 166), // the second half of a load of 64 bits
    ...call(0, 512),
    instruction(0x85, 0, 0, 113), // another helper
    ...call(5, 9040),
  ]
  assert.equal(loaderCalls(Buffer.concat(code)), [
    { command: 0, instruction: 7, attribute: 512 },
    { command: 5, instruction: 13, attribute: 9040 },
  ])
})

it('refuses a loader that makes its calls in another way', () => {
  const moved = [...call(0, 512)]
  moved.splice(4, 0, instruction(0xb7, 4, 0, 0))
  assert.throws(() => loaderCalls(Buffer.concat([instruction(0xb7), ...moved])), /instruction 6/)
})

it('refuses what is no ELF file of the right kind', () => {
  assert.throws(() => elfSections(Buffer.alloc(10)), /ELF/)
  assert.throws(() => elfSections(Buffer.alloc(100)), /ELF/)
})

it.run()
