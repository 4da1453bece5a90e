/**
 * Sends numbered datagrams at a steady pace, whatever the machine does meanwhile: `steady-datagrams.ts ADDRESS PORT PER_SECOND COUNT [PORT2]`;
 * with PORT2 each goes there too. The payload is the number, 32 bits. Prints `{sent, ms}`.
 */
import { createSocket } from 'node:dgram'
import { setTimeout as delay } from 'node:timers/promises'

const [address, ...numbers] = process.argv.slice(2)
const [port, perSecond, count, port2] = numbers.map(Number)
const socket = createSocket(address!.includes(':') ? 'udp6' : 'udp4')
const send = (to: number, payload: Buffer): Promise<void> =>
  new Promise((resolve, reject) =>
    socket.send(payload, to, address, error => (error === null ? resolve() : reject(error))),
  )
const startMs = performance.now()
for (let sent = 0; sent < count!; ) {
  const due = Math.min(count!, Math.ceil(((performance.now() - startMs) / 1000) * perSecond!))
  for (; sent < due; sent++) {
    const payload = Buffer.alloc(4)
    payload.writeUInt32BE(sent)
    await send(port!, payload)
    if (port2 !== undefined) await send(port2, payload)
  }
  await delay(2)
}
process.stdout.write(JSON.stringify({ sent: count, ms: performance.now() - startMs }))
socket.close()
