/**
 * Many connections to an echo server that are held: `held-many.ts VIP PORT COUNT`. It answers `up`, and each line on standard input after
 * one message was sent and came back on every connection; it ends with its standard input.
 */
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

export interface HeldReport {
  /** Connections by which the message came back, to the byte. */
  readonly good: number
  /** Of those that ever failed: a connection is never made again. */
  readonly errors: readonly string[]
}

const [vip, port, count] = process.argv.slice(2)
/** Half-open at once: a flood of SYNs is another test's. */
const AT_ONCE = 200
const PATIENCE_MS = 60_000
const errors: string[] = []

interface Held {
  readonly socket: Socket
  wanted: string
  got: string
  done: () => void
}
const held: Held[] = []

const open = (id: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: vip, port: Number(port), noDelay: true })
    const entry: Held = { socket, wanted: '', got: '', done: () => {} }
    socket.setEncoding('latin1')
    socket.once('connect', () => {
      held[id] = entry
      resolve()
    })
    socket.on('data', text => {
      entry.got += text
      if (entry.got.length >= entry.wanted.length) entry.done()
    })
    const over = (why: string): void => {
      errors.push(`${id}: ${why}`)
      reject(new Error(why))
      entry.done()
    }
    socket.on('error', error => over(error.message))
    socket.on('end', () => over('ended'))
  })

let number = 0
const round = async (): Promise<HeldReport> => {
  number++
  const late = new Promise<void>(resolve => setTimeout(resolve, PATIENCE_MS).unref())
  const all = held.map((entry, id) => {
    entry.wanted = `${id}/${number}/${'x'.repeat(id % 50)};`
    entry.got = ''
    return new Promise<void>(resolve => {
      entry.done = resolve
      entry.socket.write(entry.wanted)
    })
  })
  await Promise.race([Promise.all(all), late])
  const good = held.filter(entry => entry.got === entry.wanted).length
  return { good, errors: errors.slice(0, 5) }
}

for (let id = 0; id < Number(count); id += AT_ONCE)
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, Number(count) - id) }, (_, i) => open(id + i)))
process.stdout.write('up\n')
const input = createInterface({ input: process.stdin })
input.on('line', () => void round().then(report => process.stdout.write(`${JSON.stringify(report)}\n`)))
input.on('close', () => process.exit(0))
