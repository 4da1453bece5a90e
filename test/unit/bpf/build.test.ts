/** The build itself, in a copy of what it needs: it must notice when C and TypeScript part. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { missingTools } from '../../../scripts/bpf/compile.ts'
import { testIf } from '../../support/skip.ts'

const it = suite('bpf/build')
const ROOT = join(import.meta.dirname, '../../..')
const missing = missingTools()
const build = (name: string, run: () => void): void =>
  testIf(missing.length > 0 ? `needs ${missing.join(', ')}` : undefined, it, name, run)

const XDP = 'src/agent/dataplane/xdp'
let tree: string

it.before.each(() => {
  tree = mkdtempSync(join(tmpdir(), 'bpf-build-'))
  for (const part of ['scripts/bpf.ts', 'scripts/bpf', 'src/errors.ts', 'src/os/bpf/object-file.ts', XDP])
    cpSync(join(ROOT, part), join(tree, part), { recursive: true })
})
it.after.each(() => rmSync(tree, { recursive: true }))

const run = (...args: string[]): { status: number | null; words: string } => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--no-warnings', join(tree, 'scripts/bpf.ts'), ...args],
    { encoding: 'utf8' },
  )
  return { status, words: stderr }
}
const edit = (file: string, from: string | RegExp, to: string): void => {
  const path = join(tree, XDP, file)
  const text = readFileSync(path, 'utf8')
  const changed = text.replace(from, to)
  assert.is.not(changed, text, 'the test changes something')
  writeFileSync(path, changed)
}
/** Two small programs in the place of all, for what is the same with any: the probe, and after it a copy of it that stays right. */
const withProbesOnly = (): void => {
  const bpf = join(tree, XDP, 'bpf')
  for (const file of globSync('*.bpf.c', { cwd: bpf })) if (file !== 'probe.bpf.c') rmSync(join(bpf, file))
  cpSync(join(bpf, 'probe.bpf.c'), join(bpf, 'second.bpf.c'))
  assert.is(run('--accept').status, 0)
}
const stamped = (): boolean => existsSync(join(tree, 'dist/bpf/.stamp'))

build('the committed layouts are those of the sources', () => {
  assert.equal(run(), { status: 0, words: '' })
  assert.ok(stamped())
})

build('a field that moved fails the build, by name, and leaves no stamp', () => {
  withProbesOnly()
  edit(
    'bpf/probe.bpf.c',
    '\t__u32 interface_index;\n\t__u32 last_length;',
    '\t__u32 last_length;\n\t__u32 interface_index;',
  )
  const { status, words } = run()
  assert.is(status, 1)
  assert.match(words, /- PROBE_ENTRY\.interfaceIndex: 16/)
  assert.match(words, /\+ PROBE_ENTRY\.interfaceIndex: 20/)
  assert.match(words, /make bpf-layouts/)
  assert.not(stamped())
  assert.is(run('--accept').status, 0)
  assert.equal(run(), { status: 0, words: '' })
  assert.match(readFileSync(join(tree, XDP, 'layout/probe.ts'), 'utf8'), /interfaceIndex: 20, \/\/ u32/)
})

build('another type of the same size, another number and another map fail it too', () => {
  withProbesOnly()
  edit('bpf/probe.bpf.c', '__u32 verdict', '__s32 verdict')
  assert.match(run().words, /\+ PROBE_GLOBALS\.verdict: .* i32/)
  edit('bpf/probe.bpf.c', 'PROBE_IPV6 = 2', 'PROBE_IPV6 = 7')
  assert.match(run().words, /\+ PROBE_KIND\.PROBE_IPV6: 7/)
  edit('bpf/probe.bpf.c', '} sources SEC', '} origins SEC')
  edit('bpf/probe.bpf.c', /&sources/g, '&origins')
  assert.match(run().words, /\+ PROBE_MAPS\.origins/)
})

build('a mistake in C is told in the words of the compiler', () => {
  withProbesOnly()
  edit('bpf/probe.bpf.c', 'return verdict;', 'return verdickt;')
  const { status, words } = run()
  assert.is(status, 1)
  assert.match(words, /probe\.bpf\.c:\d+:\d+: error: .*verdickt/)
})

it('without the tools it says which, and that there will be no XDP', () => {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--no-warnings', join(ROOT, 'scripts/bpf.ts')].with(1, join(tree, 'scripts/bpf.ts')),
    { encoding: 'utf8', env: { ...process.env, CLANG: '/nonexistent/clang' } },
  )
  assert.is(status, 0)
  assert.match(stderr, /clang missing: this build has no XDP data plane; run make setup/)
  assert.not(stamped())
})

it.run()
