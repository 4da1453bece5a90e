import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ServiceTable } from '../../src/agent/dataplane/xdp/service-table.ts'
import { missingBpf } from '../support/bpf.ts'
import { buildPacket, TCP, UDP } from '../support/dataplane-case.ts'
import { FAMILIES, type Family } from '../support/dataplane-world.ts'
import { buildFrame } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import { addressBytes, addressWords, join } from '../support/packets.ts'
import { integers, runSeeds, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'
import { XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/services')
const noBpf = missingBpf()
const MEMORY_BYTES = 1024 * 256

interface Service {
  family: Family
  vip: string
  port: number
  protocol: typeof TCP | typeof UDP
  number: number
}

/** Services as clusters have them: few VIPs with many ports, and VIPs in a row with one port. */
const someServices = (count: number, random: (below: number) => number): Service[] => {
  const seen = new Map<string, Service>()
  while (seen.size < count) {
    const family = FAMILIES[random(2)]
    const low = random(4) === 0 ? 1 + random(3) : 1 + random(2000)
    const vip =
      family === 4 ? `203.0.${low >>> 8}.${low & 0xff}` : `2001:db8:99:${random(2)}::${low.toString(16)}`
    const service: Service = {
      family,
      vip,
      port: random(3) === 0 ? 443 : random(0x10000),
      protocol: random(3) === 0 ? UDP : TCP,
      number: seen.size + 1,
    }
    seen.set(`${vip} ${service.port} ${service.protocol}`, service)
  }
  return [...seen.values()].map((service, i) => ({ ...service, number: i + 1 }))
}

/** Two addresses that differ in one of their words and whose services at port 80 share a bucket. */
const sameBucket = (word: number): [string, string] => {
  const memory = new Uint8Array(MEMORY_BYTES)
  const seen = new Map<number, string>()
  for (let n = 1; ; n++) {
    const words = [0x20010db8, 0xa, 0xb, 0xc].map((value, i) => (i === word ? value + n : value))
    const vip = words
      .map(value => `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`)
      .join(':')
    memory.fill(0)
    new ServiceTable(memory).set(addressWords(vip), 0, 80, TCP, 9)
    const bucket = memory.findIndex(byte => byte !== 0) >>> 8
    const first = seen.get(bucket)
    if (first !== undefined) return [first, vip]
    seen.set(bucket, vip)
  }
}

const frameOf = ({ family, vip, port, protocol }: Service): Uint8Array =>
  buildFrame(buildPacket(family, protocol, { destination: vip, destinationPort: port }))

testIf(noBpf, it, 'the kernel finds exactly the services that the agent put there', async () => {
  const random = integers(seeded(runSeeds()[0]))
  const services = someServices(1500, random)
  const [known, unknown] = [services.slice(0, 1000), services.slice(1000)]
  const lab = await XdpLab.open(10)
  const vips = lab.object.map('vips')
  const put = (service: Service): boolean =>
    lab.services.set(addressWords(service.vip), 0, service.port, service.protocol, service.number)
  const reasons = (list: readonly Service[]): Record<string, number> => {
    lab.resetCounters()
    lab.netns.run(() => {
      for (const service of list) lab.run(frameOf(service))
    })
    return lab.counted()
  }
  for (const { family, vip } of services) {
    const bytes = addressBytes(vip)
    const key = family === 4 ? join(new Uint8Array(10), Uint8Array.of(0xff, 0xff), bytes) : bytes
    vips.update(key, new Uint8Array(4))
  }
  assert.ok(known.every(put))
  assert.equal(reasons(known), { NO_ROUTE: known.length })
  assert.equal(reasons(unknown), { NOT_A_SERVICE: unknown.length })

  // The number is the one that was set: only a route of that number is a hit.
  for (const service of known.slice(0, 200)) {
    const route = {
      client: service.family === 4 ? '192.0.2.1' : '2001:db8::1',
      port: 40000,
      identifier: 0x01000001,
    }
    const whole = { ...route, service: service.number, mapped: true, state: 2 }
    lab.addRoute(service.family, whole)
    assert.equal(reasons([service]), { REDIRECTED: 1 })
    lab.removeRoute(service.family, whole)
  }

  // Addresses that differ in one word alone and fall together, of which one has a service.
  for (let word = 0; word < 4; word++) {
    const [here, there] = sameBucket(word).map(
      (vip): Service => ({ family: 6, vip, port: 80, protocol: TCP, number: 9 }),
    )
    for (const { vip } of [here, there]) vips.update(addressBytes(vip), new Uint8Array(4))
    assert.ok(put(here))
    assert.equal(reasons([here, there]), { NO_ROUTE: 1, NOT_A_SERVICE: 1 })
    assert.is(lab.services.get(addressWords(there.vip), 0, 80, TCP), 0)
  }

  for (const { vip, port, protocol } of known.slice(0, 500))
    assert.ok(lab.services.delete(addressWords(vip), 0, port, protocol))
  assert.equal(reasons(known), { NOT_A_SERVICE: 500, NO_ROUTE: 500 })
  lab.close()
})
it.after(removeNetns)

it('keeps what was set, changes numbers, and takes out', () => {
  const table = new ServiceTable(new Uint8Array(MEMORY_BYTES))
  const vip = addressWords('192.0.2.80')
  assert.is(table.get(vip, 0, 80, 6), 0)
  assert.ok(table.set(vip, 0, 80, 6, 5))
  assert.ok(table.set(vip, 0, 80, 6, 65535))
  assert.is(table.get(vip, 0, 80, 6), 65535)
  assert.is(table.get(vip, 0, 80, 17), 0)
  assert.is(table.get(vip, 0, 0x5000, 6), 0, 'bytes of the port the other way round')
  assert.is(table.get(addressWords('192.0.2.81'), 0, 80, 6), 0)
  assert.is(table.delete(vip, 0, 81, 6), false)
  assert.ok(table.delete(vip, 0, 80, 6))
  assert.is(table.get(vip, 0, 80, 6), 0)
  assert.throws(() => table.set(vip, 0, 80, 6, 0), /not within/)
  assert.throws(() => table.set(vip, 0, 80, 6, 65536), /not within/)
})

it('says when a bucket is full, and has room again after one went', () => {
  const table = new ServiceTable(new Uint8Array(MEMORY_BYTES))
  const vip = addressWords('192.0.2.80')
  // Some port falls into a full bucket long before all slots are taken.
  let port = 1
  while (table.set(vip, 0, port, 6, port)) port++
  assert.ok(port > 1024 && port <= 8192, `full at port ${port}`)
  for (let earlier = 1; earlier < port; earlier++) assert.is(table.get(vip, 0, earlier, 6), earlier)
  assert.is(table.get(vip, 0, port, 6), 0)
  let freed = 0
  while (!table.set(vip, 0, port, 6, port)) assert.ok(table.delete(vip, 0, ++freed, 6))
  assert.is(table.get(vip, 0, port, 6), port)
})

it.run()
