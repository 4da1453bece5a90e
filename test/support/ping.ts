/** `ping.ts FROM TO COUNT`: prints how many replies each request got, as JSON. */
import { setTimeout as delay } from 'node:timers/promises'
import { IcmpEchoSocket } from '../../src/os/icmp-socket.ts'
import { parseIpv4 } from '../../src/os/inet.ts'

const [from, to, count] = process.argv.slice(2)
const socket = IcmpEchoSocket.open(from!, process.pid & 0xffff)
const replies = new Array<number>(Number(count)).fill(0)
const take = (): number =>
  socket.receive(64, (source, sequence, high, low) => {
    if (source === parseIpv4(to!) && high === 0x1234 && low === sequence) replies[sequence]!++
  })
for (let i = 0; i < replies.length; i++) {
  socket.queue(parseIpv4(to!), i, 0x1234, i)
  socket.flush()
  await delay(20)
  take()
}
// And a while for what is late, or comes twice.
const endMs = performance.now() + 500
while (performance.now() < endMs) {
  take()
  await delay(20)
}
socket.close()
process.stdout.write(JSON.stringify(replies))
