/** Packets of flows that nobody knows, as many as go: `flood-process.ts VIP PORT SECONDS`; prints how many left. */
import { RawSender } from '../../src/os/raw-socket.ts'
import { addressWords, buildTcp4, FLAG } from './packets.ts'

const [vip, port, seconds] = process.argv.slice(2)
const KINDS = 4096
const sender = RawSender.open()
const destination = addressWords(vip)[3]
// Of an address space that leads nowhere (RFC 2544).
const packets = Array.from({ length: KINDS }, (_, n) =>
  buildTcp4({
    ...{ source: `198.18.${n >> 8}.${n & 255}`, destination: vip, flags: FLAG.ACK },
    ...{ sourcePort: 1024 + n, destinationPort: Number(port), payload: new Uint8Array(10) },
  }),
)
process.stdout.write('begun\n')
const endAt = performance.now() + Number(seconds) * 1000
while (performance.now() < endAt)
  for (const packet of packets) sender.queue(packet, 0, packet.length, destination)
sender.flush()
process.stdout.write(`${sender.sent}\n`)
