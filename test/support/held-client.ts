/**
 * One TCP connection of a client that stays: `held-client.ts ADDRESS PORT LOCAL_PORT`. Each line of standard input is a number of
 * requests to be made one after the other; answers a line with the hosts that answered. The end of the input ends the connection.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const [address, port, localPort] = process.argv.slice(2)
const socket = connect({ host: address!, port: Number(port), localPort: Number(localPort), noDelay: true })
await once(socket, 'connect')
let isOver = false
socket.on('close', () => process.exit(isOver ? 0 : 1))
const ask = async (): Promise<string> => {
  socket.write(`GET / HTTP/1.1\r\nHost: ${address}\r\n\r\n`)
  for (let text = ''; ; ) {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    text += chunk.toString()
    const body = /^([\s\S]*?)\r\n\r\n([\s\S]*)$/.exec(text)
    const length = Number(/content-length: (\d+)/i.exec(body?.[1] ?? '')?.[1])
    if (body !== null && body[2]!.length >= length) return body[2]!.trim()
  }
}
for await (const line of createInterface({ input: process.stdin })) {
  const hosts = new Set<string>()
  for (let i = 0; i < Number(line); i++) hosts.add(await ask())
  process.stdout.write(`${JSON.stringify([...hosts])}\n`)
}
isOver = true
socket.end()
