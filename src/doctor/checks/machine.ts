/** Checks of the machine itself: kernel, privileges, nftables, TUN, clock. */
import { type Check, type Facts, fail, pass, skip, valueIn, warn } from '../facts.ts'

/** The oldest kernel that shunt was tested on. */
const TESTED: readonly [number, number] = [6, 18]
/** <linux/capability.h> */
const CAPABILITIES: readonly (readonly [bit: bigint, name: string])[] = [
  [12n, 'CAP_NET_ADMIN'],
  [13n, 'CAP_NET_RAW'],
]

const olderThan = (release: string, [major, minor]: readonly [number, number]): boolean => {
  const [, a, b] = /^(\d+)\.(\d+)/.exec(release) ?? []
  return Number(a) < major || (Number(a) === major && Number(b) < minor)
}

const kernel = ({ kernel: { system, release, machine } }: Facts) => {
  if (system !== 'Linux')
    return [fail(`This is ${system}, and shunt needs Linux.`, 'run it on a Linux machine')]
  if (!/^\d+\.\d+/.test(release) || olderThan(release, TESTED))
    return [
      warn(
        `Linux ${release} is older than what shunt was tested on (${TESTED.join('.')}).`,
        'prefer a newer kernel, or try your services on this one first',
      ),
    ]
  return [pass(`Linux ${release} on ${machine}.`)]
}

const privileges = ({ capabilities }: Facts) => {
  const missing = CAPABILITIES.filter(([bit]) => (capabilities & (1n << bit)) === 0n).map(([, name]) => name)
  return missing.length === 0
    ? [pass('This user may configure the network and open raw sockets.')]
    : [
        fail(
          `This user lacks ${missing.join(' and ')}.`,
          'run shunt as root, or give the service these capabilities; other checks may have failed for want of them',
        ),
      ]
}

const nftables = ({ nftVersion, nftRuleset }: Facts) => {
  if ('error' in nftVersion)
    return [fail(`The nft command cannot be run: ${nftVersion.error}.`, 'install the nftables package')]
  if ('error' in nftRuleset)
    return [
      fail(
        `nft, or the kernel, refuses the kind of ruleset that shunt needs: ${nftRuleset.error}`,
        'run as root; use nftables 1.0.6 or newer and a kernel with nf_tables (netdev and inet families)',
      ),
    ]
  return [pass(`${nftVersion.value} takes our kind of ruleset.`)]
}

/** What carries the packets: the agent's own word, else what it would find out. */
const dataplane = ({ agent, config, xdpHindrance }: Facts) => {
  const asked = valueIn(config)?.dataplane
  const said = valueIn(agent)?.status.dataplane
  if (said !== undefined) return [pass(`Packets go by ${said}.`)]
  if (asked === undefined || 'error' in xdpHindrance)
    return [skip('What will carry the packets is not known without the node file.')]
  if (asked === 'nftables') return [pass('Packets will go by nftables, as the node file asks.')]
  const { value } = xdpHindrance
  if (value === null) return [pass('XDP can carry the packets of all interfaces.')]
  if (asked === 'auto') return [pass(`Packets will go by nftables: ${value}.`)]
  return [
    fail(
      `The node file asks for XDP, which cannot be: ${value}.`,
      'set dataplane: auto in the node file, or repair what is named (XDP needs root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)',
    ),
  ]
}

const tun = ({ hasTun }: Facts) =>
  hasTun
    ? [pass('/dev/net/tun is there.')]
    : [
        fail(
          'There is no /dev/net/tun, which a host needs.',
          'modprobe tun, or pass the device into the container',
        ),
      ]

const clock = ({ clock: known }: Facts) => {
  const value = valueIn(known)
  if (value === null) return [skip('The state of the clock cannot be read.')]
  if (!value.synchronised)
    return [
      warn(
        'No time service keeps this clock; the expiry of tokens and the age of mapping datagrams go by it.',
        'run a time service such as chrony or systemd-timesyncd',
      ),
    ]
  return [pass(`The clock is synchronised, to about ${Math.ceil(value.maxErrorMs)} ms.`)]
}

const cgroup = ({ cgroup: known }: Facts) => {
  if ('error' in known) return [skip(`The control group of node.cgroup cannot be looked at: ${known.error}.`)]
  const { value } = known
  if (value === null) return [pass('The node file names no control group.')]
  if (value.readable)
    return [pass(`The control group of this node (node.cgroup: ${value.asked}) can be read.`)]
  return [
    warn(
      `The control group of this node (node.cgroup: ${value.asked}) cannot be read: its load is that of the whole machine.`,
      'mount /sys/fs/cgroup where the agent runs, or correct or remove node.cgroup; then restart the agent',
    ),
  ]
}

export const MACHINE_CHECKS: readonly Check[] = [
  { id: 'kernel', run: kernel },
  { id: 'privileges', run: privileges },
  { id: 'nftables', run: nftables },
  { id: 'dataplane', run: dataplane },
  { id: 'tun', run: tun },
  { id: 'clock', run: clock },
  { id: 'cgroup', run: cgroup },
]
