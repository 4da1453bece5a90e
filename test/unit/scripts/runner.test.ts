import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { countTests } from '../../../scripts/test/count.ts'
import { selectTests } from '../../../scripts/test/select.ts'
import { collect, ROOT } from '../../support/cli.ts'

const it = suite('scripts/runner')
const dir = mkdtempSync(join(tmpdir(), 'shunt-runner-'))
it.after(() => rmSync(dir, { recursive: true }))

const uvu = (body: string): string => `
import { suite } from '${join(ROOT, 'node_modules/uvu/dist/index.mjs')}'
import { skip, testIf } from '${join(ROOT, 'test/support/skip.ts')}'
const it = suite('x')
${body}
it.run()
`
const run = async (files: Record<string, string>, args: string[] = []) => {
  const paths = Object.entries(files).map(([name, text]) => {
    const path = join(dir, name)
    writeFileSync(path, text)
    return path
  })
  const child = spawn(process.execPath, ['--no-warnings', join(ROOT, 'scripts/test.ts'), ...args, ...paths])
  const result = await collect(child)
  for (const path of paths) rmSync(path)
  return { ...result, last: result.stdout.trimEnd().split('\n').at(-1) }
}

it('counts what passes', async () => {
  const { code, last } = await run({
    'a.test.ts': uvu("it('1', () => {}); it('2', () => {})"),
    'b.test.ts': uvu("it('1', () => {})"),
  })
  assert.equal([code, last], [0, '3 passed, 0 failed'])
})

it('a failing test fails the run and shows its output', async () => {
  const text = uvu("it('1', () => {}); it('2', () => { console.log('seen'); throw new Error('broken') })")
  const { code, last, stdout } = await run({ 'a.test.ts': text, 'b.test.ts': uvu("it('1', () => {})") })
  assert.equal([code, last], [1, '2 passed, 1 failed'])
  assert.match(stdout, /^FAIL .*a\.test\.ts: 1 passed, 1 failed/m)
  assert.match(stdout, /seen/)
  assert.match(stdout, /broken/)
})

it('no tests, no summary, a crash and an early exit are failures', async () => {
  const cases: [string, string, RegExp][] = [
    [uvu(''), '0 passed, 1 failed', /has no tests/],
    ['', '0 passed, 1 failed', /printed no summary/],
    ["throw new Error('crash')", '0 passed, 1 failed', /exit code 1, no summary/],
    [
      uvu("it('1', () => {}); it('2', async () => { await new Promise(() => {}) })"),
      '0 passed, 1 failed',
      /no summary/,
    ],
    [
      uvu("it('1', () => {}); process.on('exit', () => { process.exitCode = 3 })"),
      '1 passed, 1 failed',
      /exit code 3/,
    ],
    [
      uvu("it.before(() => { throw new Error('before') }); it('1', () => {}); it('2', () => {})"),
      '0 passed, 2 failed',
      /0 passed, 2 failed/,
    ],
  ]
  for (const [text, expected, why] of cases) {
    const { code, last, stdout } = await run({ 'a.test.ts': text })
    assert.equal([code, last], [1, expected], text)
    assert.match(stdout, why)
  }
})

it('skips are listed with their reason and not counted as passed', async () => {
  const body = `it('1', () => {})
testIf('needs a thing', it, 'two', () => {})
testIf(undefined, it, 'three', () => {})
it('four', () => { skip('four', 'no kernel support') })`
  const { code, last, stdout } = await run({ 'a.test.ts': uvu(body) })
  assert.equal([code, last], [0, '2 passed, 0 failed, 2 skipped'])
  assert.match(stdout, /^skipped two: needs a thing$/m)
  assert.match(stdout, /^skipped four: no kernel support$/m)
  const whole = await run({ 'a.test.ts': "console.log('SKIP all: needs root')" })
  assert.equal([whole.code, whole.last], [0, '0 passed, 0 failed, 1 skipped'])
  const silent = await run({ 'a.test.ts': uvu("it('1', () => {}); it.skip('2', () => {})") })
  assert.equal([silent.code, silent.last], [1, '1 passed, 1 failed'])
  assert.match(silent.stdout, /skipped without a reason/)
})

it('a file that hangs is ended with all that it started', async () => {
  const pidFile = join(dir, 'pid')
  const body = `// test-timeout-ms: 700
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
const child = spawn('sleep', ['600'], { stdio: 'inherit' })
writeFileSync(${JSON.stringify(pidFile)}, String(child.pid))
setInterval(() => {}, 1000)
`
  const { code, last, stdout } = await run({ 'a.test.ts': body })
  assert.equal([code, last], [1, '0 passed, 1 failed'])
  assert.match(stdout, /timed out/)
  assert.not.ok(
    existsSync(`/proc/${readFileSync(pidFile, 'utf8')}/cmdline`) &&
      readFileSync(`/proc/${readFileSync(pidFile, 'utf8')}/cmdline`, 'utf8') !== '',
  )
})

it('a selection of nothing is wrong usage', async () => {
  const { code, stderr } = await run({}, [join(dir, 'none.test.ts')])
  assert.is(code, 2)
  assert.match(stderr, /does not exist/)
  const empty = await run({}, [mkdtempSync(join(dir, 'empty-'))])
  assert.is(empty.code, 2)
  assert.match(empty.stderr, /has no tests/)
})

it('labs that say so run beside others, after the units; the other labs alone, last', () => {
  const root = join(dir, 'project')
  const files = {
    'lab/alone.test.ts': '',
    'lab/calm.test.ts': '/** Waits. */\n// test-beside-others\n',
    'lab/mentions.test.ts': '// not // test-beside-others\n',
    'unit/quick.test.ts': '// test-timeout-ms: 5000\n',
  }
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(root, 'test', name, '..'), { recursive: true })
    writeFileSync(join(root, 'test', name), text)
  }
  assert.equal(
    selectTests(root, [join(root, 'test')]).map(({ path, parallel, timeoutMs }) => [
      path,
      parallel,
      timeoutMs,
    ]),
    [
      ['test/unit/quick.test.ts', true, 5000],
      ['test/lab/calm.test.ts', true, 300_000],
      ['test/lab/alone.test.ts', false, 300_000],
      ['test/lab/mentions.test.ts', false, 300_000],
    ],
  )
})

it('counting: colours, and a summary that something else printed before', () => {
  const esc = String.fromCharCode(27)
  const output = `  Total:     9\n  Passed:    9\n  Skipped:   0\nnoise\n  Total:     2${esc}[32m\n  Passed:    2${esc}[39m\n  Skipped:   0\n`
  const counts = countTests({ output, exitCode: 0, signal: null, timedOut: false })
  assert.equal(counts, { passed: 2, failed: 0, skipped: 0, skips: [] })
  const killed = countTests({ output, exitCode: null, signal: 'SIGKILL', timedOut: false })
  assert.equal([killed.failed, killed.problem], [1, 'ended by SIGKILL'])
})

it.run()
