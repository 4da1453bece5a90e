/**
 * Waits for clients as told on standard input, a line each, and says what became of it: `tcp ADDRESS PORT BACKLOG` and
 * `udp ADDRESS PORT` answer the port; `many COUNT` opens so many TCP sockets and answers the count; `heir` starts a process
 * that inherits the first TCP socket and answers its number; `shut` closes all.
 */
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { createInterface } from 'node:readline'

const servers: Server[] = []
const listen = async (host: string, port: number, backlog: number): Promise<number> => {
  const server = createServer()
  server.listen({ host, port, backlog })
  await once(server, 'listening')
  servers.push(server)
  return (server.address() as { port: number }).port
}

const obey = async ([order, host = '', port = '0', backlog = '128']: string[]): Promise<number> => {
  if (order === 'tcp') return listen(host, Number(port), Number(backlog))
  if (order === 'udp') {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket.bind(Number(port), host)
    await once(socket, 'listening')
    return socket.address().port
  }
  if (order === 'many') {
    for (let index = 0; index < Number(host); index++) await listen('127.0.0.1', 0, 128)
    return Number(host)
  }
  if (order === 'heir') {
    const { fd } = (servers[0] as unknown as { _handle: { fd: number } })._handle
    return spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', fd], detached: true }).pid!
  }
  for (const server of servers.splice(0)) server.close()
  return 0
}

for await (const line of createInterface({ input: process.stdin }))
  process.stdout.write(`${await obey(line.split(' '))}\n`)
process.exit(0)
