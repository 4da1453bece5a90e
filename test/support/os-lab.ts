import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { Poller } from '../../src/os/poller.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { makeNetns, type TestNetns } from './netns.ts'

/** How long a packet may take between two namespaces before a test fails. */
export const PATIENCE_MS = 5000

/** Two namespaces with a veth pair: `left` has 10.9.0.1, `right` 10.9.0.2; both ends are named `v0`. */
export interface Pair {
  left: TestNetns
  right: TestNetns
  /** Index of `v0` in `right`. */
  index: number
}

export const makePair = async (mtuBytes = 1500): Promise<Pair> => {
  const left = await makeNetns()
  const right = await makeNetns()
  await ipBatch(null, [
    `link add v0 mtu ${mtuBytes} netns ${left.name} type veth peer name v0 mtu ${mtuBytes} netns ${right.name}`,
  ])
  for (const [netns, address] of [
    [left, '10.9.0.1/24'],
    [right, '10.9.0.2/24'],
  ] as const) {
    netns.run(() => {
      writeSysctl('net.ipv6.conf.all.disable_ipv6', 1) // no traffic but the test's
      writeSysctl('net.ipv4.conf.all.rp_filter', 0)
    })
    await ipBatch(netns.name, ['link set lo up', `address add ${address} dev v0`, 'link set v0 up'])
  }
  return { left, right, index: right.run(() => link('v0').index) }
}

/** Receives until `count` came, waiting for each by poll(2). Throws if they do not come. */
export const collect = (fd: number, count: number, receive: () => number): void => {
  const poller = new Poller()
  poller.add(fd)
  const deadlineMs = performance.now() + PATIENCE_MS
  for (let got = 0; got < count; ) {
    const leftMs = deadlineMs - performance.now()
    if (leftMs <= 0) throw new Error(`${got} of ${count} came in ${PATIENCE_MS} ms`)
    if (poller.wait(leftMs) > 0) got += receive()
  }
}

/** Whether a descriptor is readable now. */
export const readable = (fd: number, timeoutMs = 0): boolean => {
  const poller = new Poller()
  poller.add(fd)
  return poller.wait(timeoutMs) > 0
}
