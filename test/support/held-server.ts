/** Echoes what comes, on many connections: `held-server.ts PORT`; prints `ready`. */
import { createServer } from 'node:net'

createServer(socket => {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.pipe(socket)
}).listen({ port: Number(process.argv[2]), host: '0.0.0.0', backlog: 4096 }, () =>
  process.stdout.write('ready\n'),
)
