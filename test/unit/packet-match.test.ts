import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseAddress } from '../../src/agent/dataplane/flow-key.ts'
import { matches, type PacketFilter } from '../../src/agent/dataplane/packet-match.ts'
import { withLink } from '../../src/os/capture-socket.ts'
import { destinationFilter } from '../../src/os/classic-filter.ts'

const it = suite('what a capture wants')

const words = (text: string): Uint32Array => {
  const out = new Uint32Array(4)
  assert.ok(parseAddress(text, out, 0))
  return out
}
const ANY = new Uint32Array(4)
const filter = (change: Partial<PacketFilter> = {}): PacketFilter => ({
  ...{ vip: words('198.51.100.10'), client: ANY, mask: ANY, port: 0 },
  ...change,
})

/** 203.0.113.5:40000 to 198.51.100.10:80 */
const ipv4 = (protocol = 6, fragment = 0): Uint8Array =>
  Uint8Array.of(
    ...[0x45, 0, 0, 40, 0, 1, fragment >> 8, fragment & 0xff, 64, protocol, 0, 0],
    ...[203, 0, 113, 5, 198, 51, 100, 10],
    ...[0x9c, 0x40, 0, 80, ...new Array(16).fill(0)],
  )

it('VIP, port and client', () => {
  const packet = ipv4()
  assert.ok(matches(filter(), packet, 0))
  assert.ok(matches(filter({ port: 80 }), packet, 0))
  assert.not(matches(filter({ port: 81 }), packet, 0))
  assert.not(matches(filter({ vip: words('198.51.100.11') }), packet, 0))
  const client = words('203.0.113.0')
  const mask = Uint32Array.of(0xffffffff, 0xffffffff, 0xffffffff, 0xffffff00)
  assert.ok(matches(filter({ client, mask }), packet, 0))
  assert.not(matches(filter({ client: words('203.0.112.0'), mask }), packet, 0))
  assert.not(matches(filter({ vip: words('2001:db8::1') }), packet, 0))
})

it('what has no port that is known may be of any', () => {
  assert.ok(matches(filter({ port: 81 }), ipv4(6, 0x2000), 0), 'first fragment')
  assert.ok(matches(filter({ port: 81 }), ipv4(6, 7), 0), 'later fragment')
  assert.ok(matches(filter({ port: 81 }), ipv4(1), 0), 'ICMP')
  assert.ok(matches(filter({ port: 81 }), ipv4().subarray(0, 22), 0), 'cut off')
  assert.not(matches(filter({ port: 81 }), ipv4(17), 0), 'UDP has')
})

it('no byte beyond the end, whatever it is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(90), (bytes, at) => {
      // A view of more: a read beyond the end would find something.
      const guarded = new Uint8Array(bytes.length + 64).fill(0x45)
      guarded.set(bytes)
      assert.type(matches(filter({ port: 80 }), guarded.subarray(0, bytes.length), at), 'boolean')
    }),
  )
  for (let n = 0; n < 20; n++) assert.not(matches(filter(), ipv4().subarray(0, n), 0), String(n))
})

/** Runs a classic BPF program: what the kernel does, for the instructions that are used. */
const run = (
  program: Buffer,
  packet: { type: number; mark: number; protocol: number; ip: Uint8Array },
): number => {
  let a = 0
  for (let pc = 0; ; pc++) {
    const [code, k] = [program.readUInt16LE(pc * 8), program.readUInt32LE(pc * 8 + 4)]
    const auxiliary = (
      { 4294963200: packet.protocol, 4294963204: packet.type, 4294963220: packet.mark } as Record<
        number,
        number
      >
    )[k]
    if (code === 0x06) return k
    if (code === 0x15) pc += a === k ? program[pc * 8 + 2]! : program[pc * 8 + 3]!
    else if (auxiliary !== undefined) a = auxiliary
    else if (code === 0x20 && k >= 0xfff00000) {
      const at = k - 0xfff00000
      if (at + 4 > packet.ip.length) return 0
      a = Buffer.from(packet.ip).readUInt32BE(at)
    } else throw new Error(`instruction ${code.toString(16)} ${k.toString(16)}`)
  }
}

it('the kernel filter takes what comes in to the VIP, of its family, and not what is marked', () => {
  const packet = { type: 0, mark: 0, protocol: 0x0800, ip: ipv4() }
  const program = destinationFilter(words('198.51.100.10'), 128, 0x53480001)
  assert.is(run(program, packet), 128)
  assert.is(run(program, { ...packet, type: 4 }), 0, 'outgoing')
  assert.is(run(program, { ...packet, mark: 0x53480001 }), 0)
  assert.is(run(program, { ...packet, protocol: 0x86dd }), 0)
  assert.is(run(destinationFilter(words('198.51.100.11'), 128, null), packet), 0)
  assert.is(run(destinationFilter(words('198.51.100.10'), 99, null), { ...packet, mark: 0x53480001 }), 99)
  const six = new Uint8Array(40)
  six.set(Buffer.from('20010db8000000000000000000000010', 'hex'), 24)
  const program6 = destinationFilter(words('2001:db8::10'), 64, null)
  assert.is(run(program6, { ...packet, protocol: 0x86dd, ip: six }), 64)
  six[39]!++
  assert.is(run(program6, { ...packet, protocol: 0x86dd, ip: six }), 0)
})

it('all frames of a file are Ethernet: a tag goes back in, a tun gets a header', () => {
  const frame = Uint8Array.of(...new Array(12).fill(1), 8, 0, ...ipv4())
  assert.is(withLink(frame, 14, null), frame)
  const tagged = withLink(frame, 14, Uint8Array.of(0x81, 0, 0, 5))
  assert.equal([...tagged.subarray(12, 18)], [0x81, 0, 0, 5, 8, 0])
  assert.is(tagged.length, frame.length + 4)
  const bare = withLink(ipv4(), 0, null)
  assert.equal([...bare.subarray(0, 16)], [...new Array(12).fill(0), 8, 0, 0x45, 0])
  assert.equal([...withLink(Uint8Array.of(0x60), 0, null).subarray(12, 15)], [0x86, 0xdd, 0x60])
  assert.is(withLink(new Uint8Array(0), 0, null).length, 14)
})

it.run()
