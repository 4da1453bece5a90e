/**
 * Sockets in a network namespace of their own (owners.test.ts): `argv[2]` is a VIP that is there. Prints `VIP PORT CLIENT-PORT` of an
 * established connection, then of one that stays half-open; ends when its input does.
 */
import { execFileSync } from 'node:child_process'
import net from 'node:net'

const vip = process.argv[2]!
const server = net.createServer(socket => void socket.resume())
server.listen(0, vip, () => {
  const { port } = server.address() as net.AddressInfo
  const open = net.connect(port, vip, () => {
    execFileSync('nft', [
      `add table inet owners; add chain inet owners out { type filter hook output priority 0; }; add rule inet owners out tcp sport ${port} tcp flags syn,ack / syn,ack drop`,
    ])
    const half = net.connect({ port, host: vip, localPort: open.localPort! + 1 })
    half.on('error', () => {})
    process.stdout.write(`${vip} ${port} ${open.localPort} ${open.localPort! + 1}\n`)
  })
})
process.stdin.on('end', () => process.exit()).resume()
