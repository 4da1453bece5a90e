/** Commands that probe (R-B2) get none of the agent's descriptors: its raw sockets would be theirs to use. */
import { once } from 'node:events'
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { probeExec } from '../../src/agent/health/exec-probe.ts'
import { health } from '../../src/config/health-fields.ts'
import type { CheckTarget } from '../../src/health/probe/target.ts'
import { EventFd } from '../../src/os/eventfd.ts'
import { check, closeFd, libc } from '../../src/os/ffi.ts'
import { IcmpEchoSocket } from '../../src/os/icmp-socket.ts'
import { SetElements } from '../../src/os/netlink/nftables-elements.ts'
import { openNetlink } from '../../src/os/netlink/socket.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { PacketRing } from '../../src/os/packet-ring.ts'
import { ProcessEnds } from '../../src/os/pidfd.ts'
import { RawSender } from '../../src/os/raw-socket.ts'
import { Tun } from '../../src/os/tun.ts'
import { UdpBatchSocket } from '../../src/os/udp-socket.ts'
import { makeNetns, removeNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('lab/exec descriptors')
const dir = mkdtempSync(join(tmpdir(), 'shunt-exec-'))
it.after(async () => {
  rmSync(dir, { recursive: true })
  await removeNetns()
})

const target: CheckTarget = {
  ...{ key: 'web', service: 'web', address: '10.99.0.1', port: 80 },
  check: {
    ...health.parse({ interval: 100, timeout: 5_000 }),
    type: 'exec',
    command: ['/bin/sh', '-c', 'cd /proc/self/fd; echo [0-9]*'],
  },
}
/** Descriptors of a command, as it sees them itself. */
const seen = async (): Promise<string> => {
  const { ok, why } = await probeExec(target, new AbortController().signal)
  assert.ok(ok, why)
  return why
}
const isOpen = (fd: string): boolean => {
  try {
    fstatSync(Number(fd))
    return true
  } catch {
    return false
  }
}
const own = (): number => readdirSync('/proc/self/fd').filter(isOpen).length

testIf(missingRoot(), it, 'nothing that the agent opens is seen by a command', async () => {
  const netns = await makeNetns()
  await ipBatch(netns.name, ['link set lo up'])
  const before = await seen()
  const counted = own()
  const opened = netns.run(() => [
    EventFd.open(),
    IcmpEchoSocket.open('127.0.0.1', 1),
    PacketRing.open({ interfaceIndex: 1, mark: 1, markMask: 1 }),
    RawSender.open(),
    Tun.open('shunt0'),
    UdpBatchSocket.open({ address: '127.0.0.1', port: 0, slotSize: 2048 }),
    new SetElements(),
  ])
  const netlink = openNetlink(0, 0)
  const ends = new ProcessEnds()
  ends.watch(new Set([process.pid]))
  const file = openSync('/proc/self/ns/net', 'r')
  const server = createServer().listen(join(dir, 'control.sock'))
  await once(server, 'listening')
  // As a descriptor that somebody forgot to mark: else this test could not fail.
  const loud = check('eventfd', libc.eventfd(0, 0))
  try {
    assert.ok(own() >= counted + opened.length + 4, 'they are open')
    const known = before.split(' ')
    const more = (await seen()).split(' ').filter(word => !known.includes(word))
    assert.equal(more, [String(loud)])
  } finally {
    for (const fd of [netlink, loud]) closeFd(fd)
    closeSync(file)
    for (const each of opened) each.close()
    ends.close()
    server.close()
  }
  assert.is(await seen(), before)
})

it.run()
