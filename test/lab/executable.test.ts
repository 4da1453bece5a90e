import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ROOT } from '../support/cli.ts'
import { testIf } from '../support/skip.ts'

const it = suite('executable')
const SHUNT = join(ROOT, 'dist', 'shunt')
const missing = existsSync(SHUNT) ? undefined : 'dist/shunt is not built (make build)'
const env = { PATH: process.env.PATH, NO_COLOR: '1' }
/** Away from the sources, so that nothing of them can be used. */
const run = (...args: string[]): string =>
  execFileSync(SHUNT, args, { cwd: '/', env, encoding: 'utf8', stdio: 'pipe' })

testIf(missing, it, 'it is a build of these sources, not the sources', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const { data } = JSON.parse(run('version', '--json'))
  assert.is(data.version, version)
  assert.match(data.build, /^[0-9a-f]{12}$/)
  assert.is(data.node, process.version)
})

testIf(missing, it, 'commands that need libraries work in it', () => {
  assert.is(run('config', 'schema'), readFileSync(join(ROOT, 'schema', 'node.schema.json'), 'utf8'))
  assert.match(run('config', 'check', join(ROOT, 'packaging', 'node.example.yaml')), /: ok \(node f1, /)
  const dir = mkdtempSync(join(tmpdir(), 'shunt-executable-'))
  try {
    assert.match(run('keygen', '--identity', join(dir, 'key')), /^12D3KooW\w{44}\n$/)
  } finally {
    rmSync(dir, { recursive: true })
  }
  const { status, stderr } = spawnSync(SHUNT, ['status', '--socket', '/nonexistent/x.sock'], {
    env,
    encoding: 'utf8',
  })
  assert.is(status, 4)
  assert.match(stderr, /^error: cannot reach/)
})

testIf(missing, it, 'help is quick: it loads nothing heavy', () => {
  const times = Array.from({ length: 5 }, () => {
    const started = performance.now()
    assert.match(run('--help'), /^ {2}status /m)
    return performance.now() - started
  })
  // The aim is 150 ms; a shared machine may be twice as slow.
  assert.ok(Math.min(...times) < 300, `${times.map(t => t.toFixed(0)).join(', ')} ms`)
})

testIf(missing, it, 'make install and uninstall below DESTDIR', () => {
  const dest = mkdtempSync(join(tmpdir(), 'shunt-install-'))
  const make = (target: string): void => {
    // Only what install does: the executable is there already, whatever its time.
    const args = ['-s', '-o', 'dist/shunt', target, `DESTDIR=${dest}`, 'PREFIX=/opt/shunt']
    execFileSync('make', args, { cwd: ROOT, stdio: 'pipe' })
  }
  const installed = (): string[] =>
    globSync('**', { cwd: dest })
      .filter(f => statSync(join(dest, f)).isFile())
      .sort()
  try {
    make('install')
    const files = installed()
    for (const file of [
      'bin/shunt',
      'share/man/man1/shunt.1',
      'share/man/man5/shunt-node.yaml.5',
      'share/shunt/node.schema.json',
    ])
      assert.ok(files.includes(`opt/shunt/${file}`), file)
    assert.is(statSync(join(dest, 'opt/shunt/bin/shunt')).mode & 0o777, 0o755)
    const unit = readFileSync(join(dest, 'opt/shunt/lib/systemd/system/shunt.service'), 'utf8')
    assert.match(unit, /^ExecStart=\/opt\/shunt\/bin\/shunt agent --config \/etc\/shunt\/node\.yaml$/m)
    assert.not.match(unit, /@/)
    make('uninstall')
    assert.equal(installed(), [])
  } finally {
    rmSync(dest, { recursive: true })
  }
})

it.run()
