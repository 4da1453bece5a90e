/**
 * How long the leases may be that units have of this host, kept over the end of the agent (R-B6): the next one waits that long before
 * it takes for granted that nobody uses rows of its last run. Longer ones are written down before units are told, shorter ones when the
 * longer are over.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../../cluster/replace-file.ts'
import { BEAT_MS, MARGIN_MS } from '../../health/types.ts'

const FILE = 'lease-beats'
/** No unit grants more (60 s). */
const MAX_BEATS = 60
/** There is no such file. */
const NONE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR'])

export class LeaseRecord {
  readonly #stateDir: string
  #beats: number
  #target = -1
  #timer: NodeJS.Timeout | null = null

  constructor(stateDir: string) {
    this.#stateDir = stateDir
    this.#beats = stored(join(stateDir, FILE))
  }

  /** The longest that a unit may have, in beats; 0: never written down. What cannot be read may have been any. */
  get beats(): number {
    return this.#beats
  }

  /** Leases last so long from now on. Throws when the file cannot be written. */
  follow(beats: number): void {
    if (beats === this.#target) return
    this.stop()
    // One that fails is tried again at the next call.
    this.#target = -1
    if (beats > this.#beats) this.#write(beats)
    else if (beats < this.#beats) {
      this.#timer = setTimeout(
        () => {
          try {
            this.#write(beats)
          } catch {
            // The longer one stands: a wait that is not needed at the next start.
          }
        },
        this.#beats * BEAT_MS + MARGIN_MS,
      )
      this.#timer.unref()
    }
    this.#target = beats
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #write(beats: number): void {
    mkdirSync(this.#stateDir, { recursive: true, mode: 0o700 })
    replaceFile(join(this.#stateDir, FILE), `${beats}\n`)
    this.#beats = beats
  }
}

const stored = (path: string): number => {
  try {
    const text = readFileSync(path, 'utf8').trim()
    const beats = Number(text)
    return /^\d+$/.test(text) && beats <= MAX_BEATS ? beats : MAX_BEATS
  } catch (error) {
    return NONE.has((error as NodeJS.ErrnoException).code ?? '') ? 0 : MAX_BEATS
  }
}
