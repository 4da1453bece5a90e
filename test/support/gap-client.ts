/**
 * How long a service could not be reached: `gap-client.ts ADDRESS PORT EVERY_MS`. Begins a TCP connection every so often. At each line of standard
 * input it answers with one of JSON: the longest time between the beginnings of two connections that came about at once, since the line "begin",
 * how many did, and how many did not.
 */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const [address, port, everyMs] = process.argv.slice(2)
/** Less than the first retransmission of a SYN (1 s, RFC 6298): what takes longer was lost. */
const AT_ONCE_MS = 500

interface Try {
  readonly startMs: number
  tookMs: number | null
}
let tries: Try[] = []

const timer = setInterval(() => {
  const one: Try = { startMs: performance.now(), tookMs: null }
  tries.push(one)
  const socket = connect({ host: address!, port: Number(port) })
  socket.setTimeout(5_000, () => socket.destroy())
  socket.on('connect', () => {
    one.tookMs = performance.now() - one.startMs
    socket.destroy()
  })
  socket.on('error', () => {})
}, Number(everyMs))

for await (const line of createInterface({ input: process.stdin })) {
  const good = tries
    .filter(({ tookMs }) => tookMs !== null && tookMs < AT_ONCE_MS)
    .map(({ startMs }) => startMs)
  let gapMs = 0
  for (let i = 1; i < good.length; i++) gapMs = Math.max(gapMs, good[i]! - good[i - 1]!)
  const lastMs = tries.findLast(({ tookMs }) => tookMs !== null)?.startMs ?? 0
  const late = tries.filter(
    ({ tookMs, startMs }) => startMs < lastMs && (tookMs === null || tookMs >= AT_ONCE_MS),
  ).length
  process.stdout.write(`${JSON.stringify({ gapMs: Math.round(gapMs), good: good.length, late })}\n`)
  if (line === 'begin') tries = tries.slice(-1)
}
clearInterval(timer)
process.exit(0)
