/**
 * Clients of raw-server.ts: `raw-client.ts VIP PORT MODE ...`, each prints its findings as JSON.
 *
 *    download BYTES        asks, sends FIN, receives
 *    echo GAP_MS COUNT     COUNT lines, one every GAP_MS milliseconds, each must come back
 *    trickle MS N          receives N lines
 */
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const [vip, port, mode, ...args] = process.argv.slice(2)
const socket = connect({ host: vip!, port: Number(port), allowHalfOpen: true, noDelay: true })
const say = (found: object): boolean => process.stdout.write(`${JSON.stringify(found)}\n`)

let error: string | null = null
socket.on('error', (e: NodeJS.ErrnoException) => {
  error = e.code ?? e.message
})

const rest = async (): Promise<Buffer> => {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of socket) chunks.push(chunk as Buffer)
  } catch {
    // told by `error`
  }
  return Buffer.concat(chunks)
}

/** Lines as they come; ends with the connection. */
const lines = async function* (): AsyncGenerator<string> {
  let text = ''
  try {
    for await (const chunk of socket) {
      text += String(chunk)
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        yield text.slice(0, end)
        text = text.slice(end + 1)
      }
    }
  } catch {
    // told by `error`
  }
}

if (mode === 'download') {
  socket.end(`download ${args[0]}\n`)
  const body = await rest()
  say({ bytes: body.length, sha256: createHash('sha256').update(body).digest('hex'), error })
} else if (mode === 'trickle') {
  socket.write(`trickle ${args.join(' ')}\n`)
  const body = await rest()
  socket.end()
  say({ lines: body.toString().split('\n').filter(Boolean), error })
} else {
  const [gapMs, count] = args.map(Number)
  socket.write('echo\n')
  const incoming = lines()
  const host = (await incoming.next()).value as string | undefined
  let echoed = 0
  let waitedMs = 0
  for (; echoed < count!; echoed++) {
    await delay(gapMs)
    const sentMs = performance.now()
    socket.write(`line ${echoed}\n`)
    const back = await incoming.next()
    waitedMs = Math.max(waitedMs, performance.now() - sentMs)
    if (back.value !== `line ${echoed}`) break
  }
  socket.destroy()
  say({ host, echoed, error, waitedMs: Math.round(waitedMs) })
}
