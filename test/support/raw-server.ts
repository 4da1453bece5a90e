/**
 * An application for what HTTP servers do not do: `raw-server.ts ADDRESS PORT NAME`. The client's first line asks:
 *
 *    download BYTES   waits for the client's FIN, then sends so many (of `pattern`) and ends
 *    echo             greets with its NAME, then sends back what comes
 *    trickle MS N     N times, a line every MS milliseconds, then ends
 */
import { createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { pattern } from './raw-pattern.ts'

const [address, port, name] = process.argv.slice(2)

const serve = async (socket: Socket, words: string[], rest: Buffer): Promise<void> => {
  const [what, first, second] = words
  if (what === 'download') {
    socket.on('end', () => socket.end(pattern(Number(first))))
    socket.resume()
  } else if (what === 'echo') {
    socket.write(`${name}\n`)
    socket.write(rest)
    socket.pipe(socket)
  } else if (what === 'trickle') {
    socket.resume()
    for (let i = 0; i < Number(second) && !socket.destroyed; i++) {
      socket.write(`${i}\n`)
      await delay(Number(first))
    }
    socket.end()
  } else socket.destroy()
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, socket => {
  let got = Buffer.alloc(0)
  socket.on('error', () => socket.destroy())
  const onData = (chunk: Buffer): void => {
    got = Buffer.concat([got, chunk])
    const end = got.indexOf('\n')
    if (end < 0) return
    socket.off('data', onData)
    void serve(socket, got.subarray(0, end).toString().split(' '), got.subarray(end + 1))
  }
  socket.on('data', onData)
})
server.listen(Number(port), address, () => process.stdout.write('listening\n'))
