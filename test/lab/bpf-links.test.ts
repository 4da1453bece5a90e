import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { PROBE_GLOBALS, PROBE_KIND, PROBE_LAYOUT } from '../../src/agent/dataplane/xdp/layout/probe.ts'
import { canXdp } from '../../src/os/bpf/capability.ts'
import { attachTcx, attachXdp, BpfLink, type XdpMode } from '../../src/os/bpf/link.ts'
import type { LoadedObject } from '../../src/os/bpf/load.ts'
import { BpfMap } from '../../src/os/bpf/map.ts'
import { BpfProgram, XDP } from '../../src/os/bpf/program.ts'
import { parseIpv4 } from '../../src/os/inet.ts'
import { xdpFeatures } from '../../src/os/netlink/xdp-features.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { UdpBatchSocket } from '../../src/os/udp-socket.ts'
import { counted, loadProbe, loadVerdict, missingBpf, openFds, probeFile, testPins } from '../support/bpf.ts'
import { removeNetns } from '../support/netns.ts'
import { makePair, type Pair } from '../support/os-lab.ts'
import { pattern } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { until } from '../support/traffic.ts'

const it = suite('bpf/links')
const noBpf = missingBpf()
const lab = (name: string, run: () => Promise<void>): void => testIf(noBpf, it, name, run)

const UDP = 17
const RIGHT = parseIpv4('10.9.0.2')
let pair: Pair
let jumbo: Pair

it.before(async () => {
  if (noBpf !== undefined) return
  ;[pair, jumbo] = [await makePair(), await makePair(9000)]
})
it.after(removeNetns)

/** Sends datagrams from the left to the right. */
const send = ({ left }: Pair, count: number, bytes = 100): void => {
  const socket = left.run(() => UdpBatchSocket.open({ address: '10.9.0.1', port: 0, slotSize: 9000 }))
  for (let n = 0; n < count; n++) socket.queue(pattern(bytes), bytes, null, 0, 0, RIGHT, 7000)
  assert.is(socket.flush(), 0)
  socket.close()
}

/** Packets from the left's address that a probe's table of sources saw by UDP. */
const seen = (sources: BpfMap): { packets: number; bytes: number } => {
  const value = sources.lookup(Uint8Array.of(10, 9, 0, 1, UDP, 0, 0, 0))
  const view = value && new DataView(value.buffer)
  return view === null
    ? { packets: 0, bytes: 0 }
    : { packets: Number(view.getBigUint64(0, true)), bytes: Number(view.getBigUint64(8, true)) }
}
const sawPackets = (sources: BpfMap, packets: number): Promise<number> =>
  until(`${packets} packets`, () => {
    const { packets: now, bytes } = seen(sources)
    assert.ok(now <= packets, `${now} instead of ${packets}`)
    return now === packets ? bytes : undefined
  })

const attach = (probe: LoadedObject, name: string, mode: XdpMode | 'auto', { right, index }: Pair = pair) =>
  right.run(() => attachXdp(probe.program(name), index, mode))

for (const mode of ['native', 'generic'] as const)
  lab(`${mode} XDP sees packets while it is attached, and not after`, async () => {
    const before = openFds()
    const probe = loadProbe()
    const { link, mode: got } = attach(probe, 'probe', mode)
    assert.is(got, mode)
    const { id: _, ...info } = link.info()
    assert.equal(info, {
      kind: 'xdp',
      programId: probe.program('probe').info().id,
      interfaceIndex: pair.index,
    })
    send(pair, 10)
    const bytes = await sawPackets(probe.map('sources'), 10)
    assert.is(bytes, 10 * (14 + 20 + 8 + 100))
    link.close()
    assert.is(
      pair.right.run(() => attachedNow()),
      false,
    )
    probe.close()
    assert.equal(openFds(), before)
  })

/** Whether anything is attached: only then a second link is refused. */
const attachedNow = (): boolean => {
  const probe = loadProbe()
  try {
    attachXdp(probe.program('probe'), pair.index, 'auto').link.close()
    return false
  } catch (error) {
    assert.match(String(error), /EBUSY.*take that off first/)
    return true
  } finally {
    probe.close()
  }
}

lab('a second program is refused, with what to do', async () => {
  const probe = loadProbe()
  const { link } = attach(probe, 'probe', 'auto')
  assert.is(
    pair.right.run(() => attachedNow()),
    true,
  )
  link.detach()
  assert.is(
    pair.right.run(() => attachedNow()),
    false,
  )
  assert.is(link.info().interfaceIndex, 0)
  link.detach() // twice is harmless
  link.close()
  probe.close()
  assert.throws(() => attach(probe, 'probe', 'auto', { ...pair, index: 4_000_000 }), /EBADF|ENODEV/)
})

lab('the program of a link is replaced under traffic, and only the expected one', async () => {
  const [pass, drop] = [loadProbe(), loadVerdict(XDP.drop)]
  const receiver = pair.right.run(() => UdpBatchSocket.open({ address: '10.9.0.2', port: 7000 }))
  const { link } = attach(pass, 'probe', 'native')
  assert.throws(() => link.update(drop.program('probe'), drop.program('probe')), /EPERM/)
  link.update(drop.program('probe'), pass.program('probe'))
  send(pair, 5)
  await sawPackets(drop.map('sources'), 5)
  link.update(pass.program('probe'))
  send(pair, 3)
  await sawPackets(pass.map('sources'), 3)
  let received = 0
  await until('what passed', () => {
    receiver.receive(64, () => received++)
    return received >= 3 ? true : undefined
  })
  assert.is(received, 3, 'the five were dropped')
  assert.throws(() => link.update(drop.program('probe_tc')), /EINVAL/)
  receiver.close()
  link.close()
  pass.close()
  drop.close()
})

lab('jumbo packets need a program of several buffers in native mode; generic takes any', async () => {
  const probe = loadProbe()
  assert.throws(() => attach(probe, 'probe', 'native', jumbo), /ERANGE.*xdp\.frags/)
  const fallen = attach(probe, 'probe', 'auto', jumbo)
  assert.is(fallen.mode, 'generic')
  assert.match(fallen.reason!, /ERANGE/)
  fallen.link.close()
  const { link } = attach(probe, 'probe_frags', 'native', jumbo)
  send(jumbo, 4, 8000)
  assert.is(await sawPackets(probe.map('sources'), 4), 4 * (14 + 20 + 8 + 8000))
  link.close()
  probe.close()
})

lab('tcx sees packets on both ways', async () => {
  const [inward, outward] = [loadProbe(), loadProbe()]
  const ingress = pair.right.run(() => attachTcx(inward.program('probe_tc'), pair.index, 'ingress'))
  const egress = pair.right.run(() => attachTcx(outward.program('probe_tc'), pair.index, 'egress'))
  assert.is(ingress.info().kind, 'tcx')
  send(pair, 6)
  await sawPackets(inward.map('sources'), 6)
  const back = pair.right.run(() => UdpBatchSocket.open({ address: '10.9.0.2', port: 0 }))
  back.queue(pattern(10), 10, null, 0, 0, parseIpv4('10.9.0.1'), 7000)
  assert.is(back.flush(), 0)
  const key = Uint8Array.of(10, 9, 0, 2, UDP, 0, 0, 0)
  await until('the one back', () => outward.map('sources').lookup(key) ?? undefined)
  back.close()
  for (const closing of [ingress, egress, inward, outward]) closing.close()
})

lab('says what an interface can do, and why not', async () => {
  const probe = { file: probeFile(), layout: PROBE_LAYOUT }
  const at = ({ right }: Pair, name = 'v0') => right.run(() => canXdp(name, probe))
  assert.equal(at(pair), { mode: 'native', needsFrags: false, reason: 'v0: native XDP works' })
  assert.equal(at(jumbo), { mode: 'native', needsFrags: true, reason: 'v0: native XDP works' })
  assert.match(at(pair, 'lo').reason, /generic XDP works/)
  assert.is(at(pair, 'nothing').mode, null)
  assert.match(at(pair, 'nothing').reason, /no interface nothing here; there are: .*v0/)
  assert.match(canXdp('lo', { ...probe, layout: 'other' }).reason, /build again/)
  assert.throws(() => xdpFeatures(4_000_000), /ENODEV/)
  await ipBatch(pair.right.name, ['tuntap add tun9 mode tun'])
  assert.match(at(pair, 'tun9').reason, /no Ethernet header/)
  await ipBatch(pair.right.name, ['link delete tun9'])
})

lab('what was pinned forwards on when its process was killed, and is taken over and upgraded', async () => {
  const before = openFds()
  const pins = testPins()
  const pin = (name: string): string => join(pins.folder, name)
  // With a mount namespace of its own, as under systemd's PrivateTmp: the pins must not end with it.
  const holder = spawn(
    'ip',
    [
      ...['netns', 'exec', pair.right.name, process.execPath, '--no-warnings'],
      join(import.meta.dirname, '../support/bpf-holder.ts'),
      ...[pins.owner, String(pair.index), 'native'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  try {
    await Promise.race([
      once(holder.stdout!, 'data'),
      once(holder, 'exit').then(() => assert.unreachable('it ended')),
    ])
    send(pair, 7)
    const ended = once(holder, 'exit')
    holder.kill('SIGKILL')
    await ended
    send(pair, 4)

    const [counts, sources, link] = [
      BpfMap.open(pin('counts'))!,
      BpfMap.open(pin('sources'))!,
      BpfLink.open(pin('link'))!,
    ]
    await sawPackets(sources, 11)
    const program = BpfProgram.open(pin('program'))!
    assert.is(link.info().programId, program.info().id)
    assert.is(BpfMap.open(pin('nothing')), null)
    assert.throws(() => counts.pin(pin('sources')), /EEXIST/)
    assert.throws(() => counts.pin('/tmp/not-a-bpffs'), /EPERM|EINVAL/)

    // A new version, with the state of the old.
    const next = loadProbe({ reuse: { counts, sources }, set: [[PROBE_GLOBALS.sampleEvery, 0]] })
    link.update(next.program('probe'), program)
    send(pair, 9)
    await sawPackets(sources, 20)
    assert.ok(counted(counts, PROBE_KIND.PROBE_IPV4).packets >= 20)
    for (const closing of [next, program, link, counts, sources]) closing.close()
    assert.is(
      pair.right.run(() => attachedNow()),
      true,
      'held by its pin',
    )
  } finally {
    holder.kill('SIGKILL')
    pins.remove()
  }
  assert.not(existsSync(pins.folder))
  await until('the link is gone with its pin', () => (pair.right.run(() => attachedNow()) ? undefined : true))
  const left = openFds().filter(fd => !before.includes(fd))
  assert.ok(left.length === 0, `left open: ${left}`)
})

it.run()
