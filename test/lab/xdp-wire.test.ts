/** Frames through real interfaces: what test runs cannot show is that what the programs send does arrive, by each way and in each size. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EDGE_CONFIG } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { attachXdp, type BpfLink, type XdpMode } from '../../src/os/bpf/link.ts'
import type { LoadedObject } from '../../src/os/bpf/load.ts'
import { check, closeFd, libc, pinned } from '../../src/os/ffi.ts'
import { link } from '../../src/os/netlink/route.ts'
import { Poller } from '../../src/os/poller.ts'
import { loadProbe, missingBpf } from '../support/bpf.ts'
import { type DataplaneCase, flowCase, TCP, UDP } from '../support/dataplane-case.ts'
import { expectedFrame } from '../support/dataplane-expected.ts'
import { FAMILIES, type HostName } from '../support/dataplane-world.ts'
import { removeNetns } from '../support/netns.ts'
import { PATIENCE_MS } from '../support/os-lab.ts'
import { join, pattern } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { sourceOf, XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/wire')
const noBpf = missingBpf()

const AF_PACKET = 17
const SOCK_RAW_CLOEXEC = 3 | 0x80000
const ETH_P_ALL = 3

/** The far end of an interface. */
class Wire {
  readonly fd: number
  readonly #buffer = pinned(16_384)

  /** Inside of the namespace. */
  constructor(name: string) {
    this.fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0))
    const address = pinned(20) // struct sockaddr_ll
    address.writeUInt16LE(AF_PACKET, 0)
    address.writeUInt16BE(ETH_P_ALL, 2)
    address.writeInt32LE(link(name).index, 4)
    check('bind(AF_PACKET)', libc.bind(this.fd, address, 20))
  }

  send(frame: Uint8Array): void {
    this.#buffer.set(frame)
    check('send(AF_PACKET)', libc.send(this.fd, this.#buffer, BigInt(frame.length), 0))
  }

  /** The next frame to this hardware address; what the kernel itself sends is not waited for. */
  receive(to: Uint8Array): Uint8Array {
    const poller = new Poller()
    poller.add(this.fd)
    const deadlineMs = performance.now() + PATIENCE_MS
    for (let leftMs = PATIENCE_MS; leftMs > 0; leftMs = deadlineMs - performance.now()) {
      if (poller.wait(leftMs) === 0) continue
      const length = check('recv(AF_PACKET)', libc.recv(this.fd, this.#buffer, 16_384n, 0))
      const frame = new Uint8Array(this.#buffer.subarray(0, length))
      if (Buffer.compare(frame.subarray(0, 6), to) === 0) return frame
    }
    throw new Error(`no frame came in ${PATIENCE_MS} ms: ${JSON.stringify(lab.counted())}`)
  }
}

let lab: XdpLab
let probe: LoadedObject
let links: BpfLink[] = []
let wires: Record<'uplink' | 'cluster', Wire>

const attach = (mode: XdpMode): void => {
  lab.netns.run(() => {
    // The far ends take XDP's frames only with a program of their own.
    for (const name of ['u0p', 'c0p'])
      links.push(attachXdp(probe.program('probe_frags'), link(name).index, 'native').link)
    for (const name of ['u0', 'c0'])
      links.push(attachXdp(lab.object.program('edge_uplink'), link(name).index, mode).link)
  })
}

it.before(async () => {
  if (noBpf !== undefined) return
  lab = await XdpLab.open(100)
  probe = loadProbe()
  wires = lab.netns.run(() => ({ uplink: new Wire('u0p'), cluster: new Wire('c0p') }))
})
it.after.each(() => {
  for (const one of links) one.close()
  links = []
})
it.after(async () => {
  if (lab === undefined) return
  for (const { fd } of Object.values(wires)) closeFd(fd)
  lab.close()
  probe.close()
  await removeNetns()
})

const TAG = [{ type: 0x8100, tci: 5 }]
const HOSTS_BY_WAY: readonly HostName[] = ['redirected', 'sentBack', 'vlan']

const through = (one: DataplaneCase): void => {
  lab.addRoute(one.family, one.route!)
  lab.resetCounters()
  const expected = expectedFrame(one, sourceOf)
  const exit = one.host?.exit === 'cluster' ? wires.cluster : wires.uplink
  wires.uplink.send(one.frame)
  const frame = exit.receive(expected.subarray(0, 6))
  lab.removeRoute(one.family, one.route!)
  // The kernel takes a tag away before a socket sees the frame.
  const seen = one.host?.exit === 'vlan' ? join(expected.subarray(0, 12), expected.subarray(16)) : expected
  assert.equal(frame, seen, one.name)
  assert.is(lab.counted()[one.reason], 1, JSON.stringify(lab.counted()))
}

for (const [mode, hopLifeNs] of [
  ['native', 0],
  ['native', 1_000_000_000],
  ['generic', 0],
] as const)
  testIf(noBpf, it, `each way, tagged and jumbo, ${mode}, next hops kept for ${hopLifeNs} ns`, () => {
    attach(mode)
    lab.configure(EDGE_CONFIG.hopLifeNs, hopLifeNs)
    for (const family of FAMILIES)
      for (const host of HOSTS_BY_WAY)
        for (const tags of [[], TAG])
          for (const protocol of [TCP, UDP] as const)
            for (const length of [5, 1400, 8000])
              through(
                flowCase('through', family, protocol, {
                  host,
                  packet: { payload: pattern(length) },
                  frame: { tags },
                }),
              )
  })

testIf(noBpf, it, 'what is passed comes to the kernel as it was', () => {
  attach('native')
  const { frame, family, route } = flowCase('no route', 4, TCP)
  const passed = { ...route!, mapped: false }
  lab.addRoute(family, passed)
  const inside = lab.netns.run(() => new Wire('u0'))
  wires.uplink.send(frame)
  assert.equal(inside.receive(frame.subarray(0, 6)), frame)
  closeFd(inside.fd)
  lab.removeRoute(family, passed)
})

it.run()
