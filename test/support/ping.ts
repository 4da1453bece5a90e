/** `ping.ts FROM TO COUNT`, on the machine that has FROM on eth0: prints how many replies each request got, as JSON. Of either family. */
import { setTimeout as delay } from 'node:timers/promises'
import { link } from '../../src/os/netlink/route.ts'
import { PacketRing } from '../../src/os/packet-ring.ts'
import { ETH_P_IPV6 } from '../../src/os/packet-socket.ts'
import { RawSender } from '../../src/os/raw-socket.ts'
import { buildIcmp, icmpAt, icmpFaults } from './icmp.ts'
import { addressWords, pattern } from './packets.ts'

const [source, destination, count] = process.argv.slice(2) as [string, string, string]
const family = source.includes(':') ? 6 : 4
const REQUEST = { 4: 8, 6: 128 }[family]
const REPLY = { 4: 0, 6: 129 }[family]
const PROTOCOL = { 4: 1, 6: 58 }[family]

const sender = RawSender.open({ ipv6: true })
const ring = PacketRing.open({
  ...{ interfaceIndex: link('eth0').index, mark: 0, markMask: 0 },
  ...(family === 6 ? { etherType: ETH_P_IPV6 } : {}),
})
const replies = new Array<number>(Number(count)).fill(0)
const take = (): number =>
  ring.receive(64, (buf, offset, length) => {
    const total =
      family === 4
        ? (buf[offset + 2]! << 8) | buf[offset + 3]!
        : 40 + ((buf[offset + 4]! << 8) | buf[offset + 5]!)
    const bytes = buf.slice(offset, offset + Math.min(length, total))
    const at = icmpAt(bytes)
    if (bytes[family === 4 ? 9 : 6] !== PROTOCOL || bytes[at] !== REPLY) return
    if (icmpFaults(bytes).length === 0 && bytes[at + 4] === 0x77) replies[bytes[at + 7]!]!++
  })
for (let i = 0; i < replies.length; i++) {
  const body = pattern(i * 10)
  const echo = buildIcmp(family, { source, destination, type: REQUEST, word: 0x77770000 + i, body })
  sender.queue(echo, 0, echo.length, addressWords(destination)[3]!)
  sender.flush()
  await delay(20)
  take()
}
// And a while for what is late, or comes twice.
const endMs = performance.now() + 500
while (performance.now() < endMs) {
  take()
  await delay(20)
}
ring.close()
sender.close()
process.stdout.write(JSON.stringify(replies))
