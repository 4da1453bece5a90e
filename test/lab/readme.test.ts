/**
 * The README's tour, word for word: its shell blocks run line by line in a terminal, in a copy of this checkout. A line that
 * fails ends the block; the one interactive program in it is looked at and quit by its key.
 */
// test-timeout-ms: 240000
// test-beside-others
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const BLOCK_MS = 100_000
const it = suite('readme')

/** The shell blocks of the section, in order. */
const blocks = (section: string): string[] => {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const at = text.indexOf(`## ${section}`)
  assert.ok(at >= 0, `README.md has no section "${section}"`)
  const end = text.indexOf('\n## ', at + 3)
  return [...text.slice(at, end).matchAll(/^```sh\n(.*?)^```$/gms)].map(match => match[1])
}

/** The files of this checkout, committed or not, with their times, so that what is built is up to date there too. */
const copyCheckout = (to: string): void => {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z'], { cwd: ROOT })
    .toString()
    .split('\0')
    .filter(file => file !== '' && existsSync(join(ROOT, file)))
  const pack = spawnSync('tar', ['-c', '-T', '-'], { cwd: ROOT, input: files.join('\n'), maxBuffer: 1 << 28 })
  execFileSync('tar', ['-x'], { cwd: to, input: pack.stdout })
  symlinkSync(join(ROOT, 'node_modules'), join(to, 'node_modules'))
  execFileSync('cp', ['-a', join(ROOT, 'dist'), to])
}

class Terminal {
  #socket = ''
  readonly #dir: string
  readonly #lab: string

  constructor(dir: string, lab: string) {
    this.#dir = dir
    this.#lab = lab
  }

  #tmux(...args: string[]): string {
    return execFileSync('tmux', ['-S', this.#socket, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }).toString()
  }

  /** Runs a block to its end; answers what was on the screen of the interactive program, if there was one. */
  async run(block: string, n: number): Promise<{ code: number; output: string; screen: string }> {
    // A server ends with its last session, and one that is ending takes no other.
    this.#socket = join(this.#dir, `tmux${n}.sock`)
    const script = join(this.#dir, `block${n}.sh`)
    const log = join(this.#dir, `block${n}.log`)
    const status = join(this.#dir, `block${n}.status`)
    writeFileSync(script, block)
    const env = { PATH: process.env.PATH ?? '', SHUNT_LAB: this.#lab, NO_COLOR: '1' }
    const variables = Object.entries(env).flatMap(([key, value]) => ['-e', `${key}=${value}`])
    const command = `cd ${this.#dir}/checkout && bash -ex ${script}; echo $? > ${status}`
    this.#tmux('-f', '/dev/null', 'new-session', '-d', '-x', '120', '-y', '40', ...variables, command)
    this.#tmux('pipe-pane', '-o', `cat >> ${log}`)
    let screen = ''
    const endMs = performance.now() + BLOCK_MS
    while (!existsSync(status) || readFileSync(status, 'utf8') === '') {
      if (performance.now() > endMs)
        throw new Error(`block ${n} did not end:\n${this.#tmux('capture-pane', '-p')}`)
      if (block.includes('shunt top') && screen === '') {
        const now = this.#capture()
        if (/q quit/i.test(now) && /h3 /.test(now)) {
          screen = now
          this.#tmux('send-keys', 'q')
        }
      }
      await new Promise(resolve => setTimeout(resolve, 100))
    }
    const output = existsSync(log) ? readFileSync(log, 'utf8') : ''
    return { code: Number(readFileSync(status, 'utf8')), output, screen }
  }

  #capture(): string {
    try {
      return this.#tmux('capture-pane', '-p')
    } catch {
      return '' // the block has ended meanwhile
    }
  }

  close(): void {
    spawnSync('tmux', ['-S', this.#socket, 'kill-server'])
  }
}

const missingTmux = (): string | undefined =>
  spawnSync('tmux', ['-V']).status === 0 ? undefined : 'needs tmux'

testIf(
  missingRoot() ?? missingTmux(),
  it,
  'every line of the five-minute tour does what it says',
  async () => {
    const tour = blocks('A five-minute tour')
    assert.is(tour.length, 4)
    const dir = mkdtempSync(join(tmpdir(), 'shunt-readme-'))
    const lab = labName()
    const terminal = new Terminal(dir, lab)
    const outputs: string[] = []
    try {
      execFileSync('mkdir', [join(dir, 'checkout')])
      copyCheckout(join(dir, 'checkout'))
      for (const [n, block] of tour.entries()) {
        const { code, output, screen } = await terminal.run(block, n)
        assert.is(code, 0, `block ${n} ended with ${code}:\n${output.slice(-3000)}`)
        if (block.includes('shunt top')) assert.match(screen, /h3/)
        outputs.push(output)
      }
      assert.match(outputs[0], /^h[123]\r?$/m)
      assert.match(outputs[0], /10\.20\.0\.11/)
      assert.match(outputs[0], /[1-9]\d* packets?, \d+ lost/, 'the capture saw the connections beside it')
      assert.match(outputs[1], /capacity/)
      assert.match(outputs[1], /h3 is evicted/)
      assert.match(outputs[2], /^f2 holds 10\.99\.0\.1/m)
      assert.match(outputs[2], /^the download got 10485760 bytes\r?$/m)
      assert.match(outputs[3], /^h[12]\r?$/m)
    } finally {
      terminal.close()
      spawnSync(join(ROOT, 'dist', 'shunt'), ['lab', 'down', '--name', lab])
      rmSync(dir, { recursive: true, force: true })
      assert.equal(leftovers(lab), [])
    }
  },
)

it.run()
