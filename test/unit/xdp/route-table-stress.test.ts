/**
 * Many at a time on one route table (route-table-stress.c), and the same with one rule of bpf/route-table.h broken: then it must fail. A
 * look-up never gives another key's route and never misses one that is there. What may come to pass in one schedule of thousands, and is told
 * apart from a broken rule by how seldom it is: two moves of one route at once show its older generation for a moment; a key that is
 * inserted twice, changed and moved all at once stands twice (both are removed alike).
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type CProgram, compileC, compiler } from '../../support/c-program.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('route table under stress')
const missing = compiler() === null ? 'needs a C compiler' : undefined
const HEADERS = join(import.meta.dirname, '../../../src/agent/dataplane/xdp/bpf')
const STRESS = join(import.meta.dirname, 'route-table-stress.c')
const SCHEDULES = 20_000
const CONTROL_SCHEDULES = 6000

interface Seen {
  readonly wrong: number
  readonly lost: number
  readonly back: number
  readonly untidy: number
  readonly reads: number
  readonly kicked: number
  readonly evicted: number
}

const run = (program: CProgram, ...args: (string | number)[]): Seen => {
  const text = program.run(args.map(String)).output.toString()
  const counts = [...text.matchAll(/(\w+) (\d+)/g)].map(([, name, count]) => [name, Number(count)])
  return Object.fromEntries(counts) as Seen
}

const isRight = ({ wrong, lost, back, untidy }: Seen, schedules: number): boolean =>
  wrong === 0 && lost === 0 && Math.max(back, untidy) <= schedules / 2000

testIf(missing, it, 'is right in seeded interleavings, at every access', () => {
  using program = compileC(STRESS, HEADERS)
  for (const family of [4, 6]) {
    const seen = run(program, 'schedules', family, SCHEDULES)
    assert.ok(isRight(seen, SCHEDULES), JSON.stringify(seen))
    assert.ok(seen.reads > SCHEDULES && seen.kicked > SCHEDULES / 2 && seen.evicted > SCHEDULES, 'too tame')
  }
})

testIf(missing, it, 'gives no wrong route where all fingerprints are the same', () => {
  using program = compileC(STRESS, HEADERS)
  assert.is(run(program, 'schedules', 6, SCHEDULES, 'collide').wrong, 0)
})

testIf(missing, it, 'is right under threads of the processor', () => {
  using program = compileC(STRESS, HEADERS)
  for (const family of [4, 6]) {
    const seen = run(program, 'threads', family, 700)
    assert.ok(isRight(seen, SCHEDULES) && seen.reads > 0, JSON.stringify(seen))
  }
})

const FILES: Readonly<Record<string, string>> = Object.fromEntries(
  globSync('route-*.h', { cwd: HEADERS }).map(file => [file, readFileSync(join(HEADERS, file), 'utf8')]),
)

/** The headers with a number of two owners in place of sixteen: a slot's number soon comes again, as while a thread stands still. */
const SHORT_REUSE: Readonly<Record<string, string>> = {
  ...FILES,
  'route-layout.h': FILES['route-layout.h']!.replace('ROUTE_REUSE_MASK (15ull', 'ROUTE_REUSE_MASK (1ull'),
}

testIf(missing, it, 'is right where the number of a slot that changed hands comes again', () => {
  assert.not.equal(SHORT_REUSE, FILES)
  using program = compileC(STRESS, HEADERS, SHORT_REUSE)
  for (const family of [4, 6]) {
    const seen = run(program, 'schedules', family, SCHEDULES)
    assert.ok(isRight(seen, SCHEDULES), JSON.stringify(seen))
  }
})

/** Each breaks one rule: what stands in the headers once, and what is put in its place. */
const CONTROLS: readonly {
  readonly name: string
  readonly from: string
  readonly to: string
  readonly family?: 6
  readonly shortReuse?: true
}[] = [
  { name: 'the value is not read twice', from: 'if (!((before ^ value) & ~ROUTE_STAMP_MASK))', to: '' },
  {
    name: 'the key is not read again',
    from: 'if (order != k->key)',
    to: 'if (!order)',
  },
  {
    name: 'a slot is claimed without an exchange',
    from: 'ROUTE_CAS(&e->value, was, route_next_owner(was, value)) == was)',
    to: '(ROUTE_STORE(&e->value, route_next_owner(was, value)), 1))',
  },
  {
    name: 'the key is published before the address',
    family: 6,
    from: '\tif (t->six) {\n\t\tROUTE_STORE(',
    to: '\tROUTE_SWAP(&route_entry_at(b, i)->key, k->key);\n\tif (t->six) {\n\t\tROUTE_STORE(',
  },
  {
    name: 'a move takes the original away before the copy is there',
    from: '\t\troute_publish(t, other, j, &k);\n\t\t__u64 is = route_read_once(t, b, i, &k);\n',
    to: '\t\t__u64 is = route_read_once(t, b, i, &k);\n\t\tROUTE_CAS(&e->key, k.key, 0);\n\t\troute_publish(t, other, j, &k);\n\t\tROUTE_CAS(&e->key, 0, k.key);\n',
  },
  {
    name: 'a move is not taken back when the original changed',
    from: '!((was ^ is) & ~ROUTE_STAMP_MASK) && ',
    to: '(is || 1) && ',
  },
  {
    name: 'a change goes to one copy only',
    from: '\treturn route_change_in(t, second, k, mask, bits, result);',
    to: '\treturn result == ROUTE_MISSING ? route_change_in(t, second, k, mask, bits, result) : result;',
  },
  { name: 'older generations win', from: '& 63) > 31) {', to: '& 63) > 63) {' },
  {
    name: 'nobody looks again after publishing',
    from: '\tif (!out->existing)\n\t\treturn result;\n',
    to: '\tif (own)\n\t\treturn result;\n',
  },
  {
    name: 'a change believes a value that the slot may have of its next owner but one',
    from: 'return most == 1 ? ROUTE_CHANGING : value;',
    to: 'return value;',
    shortReuse: true,
  },
  { name: 'pinned routes are evicted', from: '|| value & ROUTE_PINNED ', to: '' },
]

for (const { name, from, to, family = 4, shortReuse } of CONTROLS) {
  testIf(missing, it, `control: fails when ${name}`, () => {
    const whole = shortReuse ? SHORT_REUSE : FILES
    const places = Object.entries<string>(whole).flatMap(([file, text]) =>
      Array(text.split(from).length - 1).fill(file),
    )
    assert.is(places.length, 1, `stands in the headers once: ${from}`)
    const broken = { ...whole, [places[0]]: whole[places[0]].replace(from, () => to) }
    using program = compileC(STRESS, HEADERS, broken)
    const seen = run(program, 'schedules', family, CONTROL_SCHEDULES)
    assert.not.ok(isRight(seen, CONTROL_SCHEDULES), JSON.stringify(seen))
  })
}

it.run()
