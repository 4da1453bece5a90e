/**
 * Long connections to an echo server (raw-server.ts), each with bytes of its own: `echo-client.ts VIP PORT COUNT`. Each line on
 * standard input is answered by what was seen since the last; the process ends with its standard input.
 */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

export interface EchoReport {
  /** Names that servers greeted with, by connection. */
  readonly names: readonly string[]
  /** Lines that came back, in all since the last report, and of the connection that had the fewest. */
  readonly echoed: number
  readonly fewest: number
  /** Lines that belong to no connection of ours, or came out of order. */
  readonly wrong: readonly string[]
  readonly errors: readonly string[]
  /** Longest time without an echo on one connection, in milliseconds. */
  readonly longestGapMs: number
}

const [vip, port, count] = process.argv.slice(2)
const EVERY_MS = 10
let wrong: string[] = []
let errors: string[] = []

const connections = Array.from({ length: Number(count) }, (_, id) => {
  const state = { name: '', sent: 0, got: 0, lastMs: performance.now(), gapMs: 0 }
  const padding = 'x'.repeat(id * 7)
  const socket = connect({ host: vip, port: Number(port), noDelay: true }, () => socket.write('echo\n'))
  const takeLine = (line: string): void => {
    if (state.name === '') {
      state.name = line
      return
    }
    const now = performance.now()
    state.gapMs = Math.max(state.gapMs, now - state.lastMs)
    state.lastMs = now
    if (line === `${id}/${state.got}/${padding}`) state.got++
    else wrong.push(`${id}: ${line.slice(0, 60)} instead of line ${state.got}`)
  }
  let rest = ''
  socket.setEncoding('utf8').on('data', chunk => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    lines.forEach(takeLine)
  })
  socket.on('error', error => errors.push(`${id}: ${error.message}`))
  socket.on('close', () => errors.push(`${id}: closed`))
  setInterval(() => {
    if (state.name !== '' && !socket.destroyed) socket.write(`${id}/${state.sent++}/${padding}\n`)
  }, EVERY_MS)
  return state
})

let before = connections.map(() => 0)
for await (const _ of createInterface({ input: process.stdin })) {
  const now = performance.now()
  const echoed = connections.map(({ got }, i) => got - before[i])
  const report: EchoReport = {
    names: connections.map(({ name }) => name),
    echoed: echoed.reduce((sum, n) => sum + n, 0),
    fewest: Math.min(...echoed),
    wrong,
    errors,
    longestGapMs: Math.round(Math.max(...connections.map(c => Math.max(c.gapMs, now - c.lastMs)))),
  }
  process.stdout.write(`${JSON.stringify(report)}\n`)
  before = connections.map(({ got }) => got)
  wrong = []
  errors = []
  for (const connection of connections) connection.gapMs = 0
}
process.exit(0)
