/** A terminal for programs that draw on one: a tmux server of its own, ended with `close`. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** `undefined`, or the reason to skip. */
export const missingTmux = (): string | undefined =>
  spawnSync('tmux', ['-V']).status === 0 ? undefined : 'needs tmux'

const PATIENCE_MS = 20_000

export class Tmux {
  readonly #dir = mkdtempSync(join(tmpdir(), 'shunt-tmux-'))
  readonly #socket = join(this.#dir, 'socket')

  /** Starts a shell. */
  constructor(columns = 80, rows = 24, env: NodeJS.ProcessEnv = {}) {
    const size = ['-x', String(columns), '-y', String(rows)]
    // The size stays what the test says, with nobody attached.
    this.#tmux(['-f', '/dev/null', 'new-session', '-d', ...size, 'sh'], {
      PATH: process.env.PATH,
      HOME: '/nonexistent',
      LANG: 'C.UTF-8',
      TERM: 'screen-256color',
      ...env,
    })
  }

  #tmux(args: string[], env?: NodeJS.ProcessEnv): string {
    return execFileSync('tmux', ['-S', this.#socket, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(env && { env }),
    })
  }

  /** tmux's names: `Enter`, `Down`, `C-c`, `BTab`; anything else is typed. */
  keys(...keys: string[]): void {
    this.#tmux(['send-keys', ...keys])
  }
  /** As one chunk, nothing in it is a name. */
  type(text: string): void {
    this.#tmux(['send-keys', '-l', text])
  }
  resize(columns: number, rows: number): void {
    this.#tmux(['resize-window', '-x', String(columns), '-y', String(rows)])
  }
  /** What is on the screen; with `styles`, its escape sequences too. */
  screen(styles = false): string {
    return this.#tmux(['capture-pane', '-p', ...(styles ? ['-e'] : [])])
  }
  /** The screen once `wanted` matches it. */
  async see(wanted: RegExp): Promise<string> {
    const until = performance.now() + PATIENCE_MS
    for (;;) {
      const screen = this.screen()
      if (wanted.test(screen)) return screen
      if (performance.now() > until) throw new Error(`${wanted} did not appear; the screen is\n${screen}`)
      await delay(50)
    }
  }
  close(): void {
    spawnSync('tmux', ['-S', this.#socket, 'kill-server'])
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
