/** The host's program and what the agent may change under it: mappings, tunnels, services, roles. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { missingBpf } from '../support/bpf.ts'
import { buildPacket, type PacketShape, TCP, UDP, withHeaderChecksum } from '../support/dataplane-case.ts'
import { CLIENT, FAMILIES, type Family, TUNNEL, VIP } from '../support/dataplane-world.ts'
import { buildFrame, mac } from '../support/ethernet.ts'
import { OWN, tunnelled } from '../support/host-cases.ts'
import { addressWords, FLAG, join } from '../support/packets.ts'
import { integers, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { ROLE, TUNNELS, XdpHostLab } from '../support/xdp-host-lab.ts'

const it = suite('xdp/host changes')
const noBpf = missingBpf()
let lab: XdpHostLab

it.before(() => {
  if (noBpf === undefined) lab = new XdpHostLab()
})
it.after(() => lab?.close())

/** As the programs count time: bpf/config.h, with its tick_shift. */
const tickNow = (): number => Number((process.hrtime.bigint() >> 30n) & 0xffffn)

const frameOf = (family: Family, more: PacketShape = {}): Uint8Array =>
  buildFrame(tunnelled(buildPacket(family, TCP, more), family, IDENTIFIER)!)
const IDENTIFIER = 0x0a123456

for (const family of FAMILIES)
  testIf(
    noBpf,
    it,
    `says when a mapping was used last, and what passed for its service, IPv${family}`,
    () => {
      const key = {
        tunnel: TUNNELS.first.index,
        generation: TUNNELS.first.generation,
        identifier: IDENTIFIER,
      }
      const mappings = lab.mappings[family]
      const now = tickNow()
      mappings.put(key, { client: addressWords(CLIENT[family]), port: 40000, service: 300 }, now + 30_000)
      lab.targets.set(300, [addressWords(VIP[family])], 80, TCP)
      const frame = frameOf(family)
      const before = lab.traffic(300)
      lab.run(frameOf(family, { flags: FLAG.SYN }))
      assert.is(mappings.get(key)?.stamp, (now + 30_000) & 0xffff)
      assert.equal(lab.traffic(300), before)
      lab.run(frame)
      const stamp = mappings.get(key)!.stamp
      assert.ok(((stamp - now) & 0xffff) <= 1 + 5, `tick ${stamp}, begun at ${now}`)
      assert.equal(lab.traffic(300), { packets: before.packets + 1, bytes: before.bytes + frame.length - 14 })
      mappings.remove(key.tunnel, key.identifier)
      assert.is(lab.run(frame).data[26], frame[26])
    },
  )

for (const family of FAMILIES)
  testIf(noBpf, it, `changes take effect with the next packet, IPv${family}`, () => {
    const key = { tunnel: TUNNELS.first.index, generation: TUNNELS.first.generation, identifier: IDENTIFIER }
    const ends = { tunnel: addressWords(TUNNEL[family]), own: addressWords(OWN[family]) }
    const put = (generation: number, port: number) =>
      lab.mappings[family].put(
        { ...key, generation },
        { client: addressWords(CLIENT[family]), port, service: 1 },
        0,
      )
    const frame = frameOf(family)
    /** The client's port in the packet afterwards, or why it passed. */
    const outcome = (): number | string => {
      lab.resetCounters()
      const { data } = lab.run(frame)
      const at = 14 + (family === 4 ? 20 : 40)
      const [reason] = Object.keys(lab.counted())
      return reason === 'RESTORED' ? data[at] * 256 + data[at + 1] : reason
    }
    const seen: (number | string)[] = [outcome()]
    const step = (change: () => unknown): void => {
      change()
      seen.push(outcome())
    }
    step(() => put(key.generation, 5))
    step(() => put(key.generation, 6))
    step(() => lab.tunnels.set(ends, key.tunnel, 4))
    step(() => put(4, 7))
    step(() => lab.tunnels.delete(ends))
    step(() => lab.tunnels.set(ends, key.tunnel, 4))
    step(() => lab.targets.delete(1))
    step(() => lab.targets.set(1, [addressWords(VIP[family])], 80, TCP))
    step(() =>
      lab.targets.set(
        1,
        FAMILIES.map(other => addressWords(VIP[other])),
        80,
        TCP,
      ),
    )
    step(() => lab.mappings[family].remove(key.tunnel, key.identifier))
    step(() => lab.roles(0))
    step(() => lab.roles(ROLE.host))
    lab.tunnels.set(ends, key.tunnel, key.generation)
    assert.equal(seen, [
      'NO_MAPPING',
      5,
      6,
      'NO_MAPPING',
      7,
      'NOT_TUNNELLED',
      7,
      'NOT_TO_VIP',
      7,
      7,
      'NO_MAPPING',
      'ROLE_OFF',
      'NO_MAPPING',
    ])
  })

testIf(noBpf, it, 'marks what it restored for the rules behind it, and nothing else', () => {
  const mark = mac(0x77)
  const { index: tunnel, generation } = TUNNELS.first
  const content = { client: addressWords(CLIENT[4]), port: 40000, service: 1 }
  const frame = frameOf(4)
  const run = () =>
    [true, false].map(on => {
      lab.stackMark(on ? mark : null)
      return lab.run(frame).data
    })
  const passed = run()
  lab.mappings[4].put({ tunnel, generation, identifier: IDENTIFIER }, content, 0)
  const [marked, unmarked] = run()
  lab.mappings[4].remove(tunnel, IDENTIFIER)
  assert.equal(passed, [frame, frame])
  assert.equal(unmarked.slice(0, 14), frame.slice(0, 14))
  assert.equal(marked, join(frame.slice(0, 6), mark, unmarked.slice(12)))
})

testIf(noBpf, it, 'tells hundreds of tunnels apart, by both their ends', () => {
  using own = new XdpHostLab(10)
  const below = integers(seeded(1))
  const known = new Map<string, { tunnel: string; own: string; index: number }>()
  const some = (family: Family) => ({
    tunnel:
      family === 4 ? `10.67.${below(2)}.${below(256)}` : `fd00:67:${below(2)}::${below(256).toString(16)}`,
    own: family === 4 ? `10.51.0.${below(2)}` : `fd00:51::${below(2)}:${below(2)}`,
  })
  for (let i = 0; i < 600; i++) {
    const pair = some(FAMILIES[i % 2])
    const ends = { tunnel: addressWords(pair.tunnel), own: addressWords(pair.own) }
    const name = `${pair.tunnel} ${pair.own}`
    if (below(4) === 0) assert.is(own.tunnels.delete(ends), known.delete(name))
    else {
      assert.ok(own.tunnels.set(ends, 1 + (i % 255), 0), 'no room')
      known.set(name, { ...pair, index: 1 + (i % 255) })
    }
  }
  let hits = 0
  const asked = [...known.values(), ...Array.from({ length: 600 }, (_, i) => some(FAMILIES[i % 2]))]
  for (const { tunnel, own: to } of asked) {
    const family = tunnel.includes(':') ? 6 : 4
    const packet = buildPacket(family, TCP, {
      source: tunnel,
      destination: to,
      sourcePort: 1,
      destinationPort: 1,
    })
    const expected = known.get(`${tunnel} ${to}`)
    const key = { tunnel: expected?.index ?? 1, generation: 0, identifier: 0x00010001 }
    own.mappings[family].put(key, { client: addressWords(CLIENT[family]), port: 1, service: 1 }, 0)
    own.resetCounters()
    own.run(buildFrame(packet))
    assert.equal(
      own.counted(),
      { [expected === undefined ? 'NOT_TUNNELLED' : 'RESTORED']: 1 },
      `${tunnel} to ${to}`,
    )
    own.mappings[family].remove(key.tunnel, key.identifier)
    if (expected !== undefined) hits++
  }
  assert.ok(hits > 300 && hits < asked.length - 100, `${hits} of ${asked.length}`)
})

/** So many of another address share the hash of a tunnel that each word of both ends must be compared. */
testIf(noBpf, it, 'takes no tunnel for another that has its place in the table', () => {
  using own = new XdpHostLab(10)
  const tries = 3000
  for (const family of FAMILIES) {
    const frame = buildFrame(tunnelled(buildPacket(family, UDP, { noChecksum: true }), family, IDENTIFIER)!)
    const at = 14 + (family === 4 ? 12 : 8)
    own.resetCounters()
    for (let word = 0; word < (family === 4 ? 2 : 8); word++)
      for (let n = 1; n <= tries; n++) {
        const other = frame.slice()
        const view = new DataView(other.buffer)
        view.setUint32(at + 4 * word, (view.getUint32(at + 4 * word) ^ Math.imul(n, 0x01000193)) >>> 0)
        if (family === 4) other.set(withHeaderChecksum(other.slice(14)), 14)
        own.run(other)
      }
    const { NOT_TUNNELLED, ...rest } = own.counted()
    assert.equal(rest, {})
    assert.is(NOT_TUNNELLED, tries * (family === 4 ? 2 : 8))
  }
})

it.run()
