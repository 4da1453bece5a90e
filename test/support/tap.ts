/** Listens on the cable of a place with tcpdump, and gives what passes as IP packets. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const FILE_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16
const ETHERNET_BYTES = 14
const PATIENCE_MS = 10_000

export interface TapOptions {
  /** Only what leaves or reaches the place; default: both. */
  direction?: 'in' | 'out'
  device?: string
}

export class Tap {
  /** IP packets in order, without padding of the link. */
  readonly packets: Uint8Array[] = []
  readonly #child: ChildProcess
  readonly #waiting = new Set<() => void>()
  #rest: Buffer = Buffer.alloc(0)
  #started = false

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stdout!.on('data', (chunk: Buffer) => this.#take(chunk))
  }

  /** Resolves when it listens. @param filter in tcpdump's language */
  static async open(
    netns: string,
    filter: string,
    { direction, device = 'eth0' }: TapOptions = {},
  ): Promise<Tap> {
    const child = spawn(
      'ip',
      [
        ...[
          'netns',
          'exec',
          netns,
          'tcpdump',
          '-i',
          device,
          '-n',
          '-U',
          '-s',
          '0',
          '--immediate-mode',
          '-w',
          '-',
        ],
        ...(direction === undefined ? [] : ['-Q', direction]),
        filter,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    const tap = new Tap(child)
    const said: string[] = []
    await new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', () => reject(new Error(`tcpdump ended: ${said.join('\n')}`)))
      createInterface(child.stderr!).on('line', line => {
        said.push(line)
        if (line.includes('listening on')) resolve()
      })
    })
    return tap
  }

  #take(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    if (!this.#started) {
      if (this.#rest.length < FILE_HEADER_BYTES) return
      this.#rest = this.#rest.subarray(FILE_HEADER_BYTES)
      this.#started = true
    }
    while (this.#rest.length >= RECORD_HEADER_BYTES) {
      const end = RECORD_HEADER_BYTES + this.#rest.readUInt32LE(8)
      if (this.#rest.length < end) break
      this.packets.push(Uint8Array.from(this.#rest.subarray(RECORD_HEADER_BYTES + ETHERNET_BYTES, end)))
      this.#rest = this.#rest.subarray(end)
    }
    for (const wake of [...this.#waiting]) wake()
  }

  /** The first packet, past or to come, of which `wanted` is true. Rejects after 10 s. */
  async first(what: string, wanted: (packet: Uint8Array) => boolean): Promise<Uint8Array> {
    const endAt = performance.now() + PATIENCE_MS
    for (let seen = 0; ; ) {
      for (; seen < this.packets.length; seen++) if (wanted(this.packets[seen]!)) return this.packets[seen]!
      const leftMs = endAt - performance.now()
      if (leftMs <= 0) throw new Error(`no ${what} was seen within ${PATIENCE_MS} ms (${seen} packets)`)
      let wake = (): void => {}
      const more = new Promise<void>(resolve => {
        wake = resolve
      })
      this.#waiting.add(wake)
      const timer = setTimeout(wake, leftMs)
      await more
      clearTimeout(timer)
      this.#waiting.delete(wake)
    }
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await ended
  }
}
