import { execFileSync } from 'node:child_process'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EDGE_CONFIG, KNOWN_HOP, KNOWN_HOP_BYTES } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { XDP } from '../../src/os/bpf/program.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { index, missingBpf } from '../support/bpf.ts'
import { flowCase, TCP, UDP } from '../support/dataplane-case.ts'
import { FAMILIES, HOSTS, JUMBO_MTU, TUNNEL } from '../support/dataplane-world.ts'
import { mac } from '../support/ethernet.ts'
import { removeNetns } from '../support/netns.ts'
import { pattern } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/next-hop')
const noBpf = missingBpf()
let lab: XdpLab

it.before(async () => {
  if (noBpf === undefined) lab = await XdpLab.open(10)
})
it.after(async () => {
  lab?.close()
  await removeNetns()
})

const reasonOf = (frame: Uint8Array): string => {
  lab.resetCounters()
  lab.netns.run(() => lab.run(frame))
  return Object.keys(lab.counted()).join()
}

testIf(noBpf, it, 'looked up by an interface that does not forward, there is none', () => {
  for (const family of FAMILIES) {
    const { frame, route } = flowCase('one', family, UDP)
    const setting = `net.ipv${family}.conf.u0.forwarding`
    lab.addRoute(family, route!)
    lab.configure(EDGE_CONFIG.fibInterface, 0)
    assert.is(reasonOf(frame), 'NO_NEXT_HOP')
    lab.netns.run(() => writeSysctl(setting, 1))
    assert.is(reasonOf(frame), 'REDIRECTED')
    lab.netns.run(() => writeSysctl(setting, 0))
    lab.configure(EDGE_CONFIG.fibInterface, 1)
    assert.is(reasonOf(frame), 'REDIRECTED')
    lab.removeRoute(family, route!)
  }
})

testIf(noBpf, it, 'without a tunnel address of the family nothing is sent', () => {
  for (const family of FAMILIES) {
    const { frame, route } = flowCase('one', family, UDP)
    const place = family === 4 ? EDGE_CONFIG.tunnel4W : EDGE_CONFIG.tunnel6W
    lab.addRoute(family, route!)
    const words = [0, 4, 8, 12].map(at => lab.configured(place + at))
    for (const at of [0, 4, 8, 12]) lab.configure(place + at, 0)
    assert.is(reasonOf(frame), 'NO_HOST')
    words.forEach((word, i) => {
      lab.configure(place + 4 * i, word)
    })
    assert.is(reasonOf(frame), 'REDIRECTED')
    lab.removeRoute(family, route!)
  }
})

const rules = (line: string): void => {
  execFileSync('ip', ['-netns', lab.netns.name, ...line.split(' ')], { stdio: ['ignore', 'ignore', 'pipe'] })
}

testIf(noBpf, it, 'rules of the kernel see the packet as it will be', () => {
  const identifier = 0x01ff_1092 // ports 511 and 4242
  for (const family of FAMILIES) {
    rules(`-${family} route add blackhole default table 77`)
    for (const [rule, protocol, packet] of [
      ['tos 0x10', TCP, { trafficClass: 0x10 }],
      ['ipproto udp', UDP, {}],
      ['ipproto tcp sport 511', TCP, {}],
      ['ipproto tcp dport 4242', TCP, {}],
      [`from ${TUNNEL[family]}`, TCP, {}],
      [`to ${HOSTS.redirected.address[family]}`, TCP, {}],
    ] as const) {
      const { frame, route } = flowCase('ruled', family, protocol, { packet, route: { identifier } })
      lab.addRoute(family, route!)
      assert.is(reasonOf(frame), 'REDIRECTED', rule)
      rules(`-${family} rule add ${rule} table 77`)
      assert.is(reasonOf(frame), 'NO_NEXT_HOP', rule)
      rules(`-${family} rule del ${rule} table 77`)
      lab.removeRoute(family, route!)
    }
  }
})

testIf(noBpf, it, 'one is kept for its time, its generation and its MTU, and only if that is wanted', () => {
  const known = lab.object.map('known_hops')
  const [life, hour, slack] = [1_000_000_000, 3_600_000_000_000n, 50_000_000n]
  const now = (): bigint => process.hrtime.bigint()
  const other = mac(0x99)
  for (const family of FAMILIES) {
    const { frame, route } = flowCase('known', family, TCP, { packet: { payload: pattern(1000) } })
    const place = index(HOSTS.redirected.index * 2 + (family === 6 ? 1 : 0))
    /** Puts a hop there, on all processors; answers whether the packet goes by it. */
    const taken = (until: bigint, generation: number, mtu: number): boolean => {
      const value = new Uint8Array(known.valueBytes)
      const view = new DataView(value.buffer)
      for (let at = 0; at < value.length; at += KNOWN_HOP_BYTES) {
        view.setBigUint64(at + KNOWN_HOP.until, until, true)
        view.setUint32(at + KNOWN_HOP.generation, generation, true)
        view.setUint32(at + KNOWN_HOP.mtu, mtu, true)
        view.setUint32(at + KNOWN_HOP.hopDeviceLink, lab.interfaceOf('narrow'), true)
        value.set(other, at + KNOWN_HOP.hopDestination)
      }
      known.update(place, value)
      const { verdict, data } = lab.netns.run(() => lab.run(frame))
      assert.is(verdict, XDP.redirect)
      return Buffer.compare(data.subarray(0, 6), other) === 0
    }
    const length = frame.length - 14
    lab.addRoute(family, route!)
    assert.is(taken(now() + hour, 0, length), false, 'none is wanted')
    lab.configure(EDGE_CONFIG.hopLifeNs, life)
    assert.is(taken(now() + hour, 0, length), true)
    assert.is(taken(now() + hour, 0, length - 1), false, 'too small')
    assert.is(taken(now() + hour, 1, length), false, 'of another generation')
    assert.is(taken(now() - 2n * slack, 0, length), false, 'too old')
    lab.configure(EDGE_CONFIG.hopGeneration, 7)
    assert.is(taken(now() + hour, 7, length), true)

    // What the kernel answers stands there afterwards.
    known.update(place, new Uint8Array(known.valueBytes))
    const before = now()
    lab.netns.run(() => lab.run(frame))
    const value = known.lookup(place)!
    const view = new DataView(value.buffer)
    const places = Array.from({ length: value.length / KNOWN_HOP_BYTES }, (_, i) => i * KNOWN_HOP_BYTES)
    const [at] = places.filter(entry => view.getBigUint64(entry, true) !== 0n)
    const until = view.getBigUint64(at + KNOWN_HOP.until, true)
    assert.ok(until > before + BigInt(life) - slack && until <= now() + BigInt(life))
    assert.is(view.getUint32(at + KNOWN_HOP.generation, true), 7)
    assert.is(view.getUint32(at + KNOWN_HOP.mtu, true), JUMBO_MTU)
    lab.configure(EDGE_CONFIG.hopLifeNs, 0)
    lab.configure(EDGE_CONFIG.hopGeneration, 0)
    lab.removeRoute(family, route!)
  }
})

it.run()
