/** Carries a plan out: namespaces, cables, addresses, routes. Few processes, so that a lab is there in a second. */
import { existsSync } from 'node:fs'
import { ShuntError } from '../errors.ts'
import { addressLines, linkLines } from './ip-lines.ts'
import { mustRun, settleAll } from './run.ts'
import type { LabPlan, PlacePlan } from './topology.ts'

/** Places whose namespace gets a device: the switch only has ports. */
const withDevice = (plan: LabPlan): PlacePlan[] => plan.places.filter(p => p.kind !== 'switch')

const batch = (netns: string | null, lines: string[]): Promise<string> =>
  mustRun(['ip', ...(netns === null ? [] : ['-n', netns]), '-batch', '-'], { input: `${lines.join('\n')}\n` })

/** @throws ShuntError SHUNT_ERR_LAB when a namespace of the lab's would take the name of another's. */
export const checkNamesFree = (plan: LabPlan): void => {
  const taken = plan.places.map(p => p.netns).filter(netns => existsSync(`/run/netns/${netns}`))
  if (taken.length > 0)
    throw new ShuntError(
      'SHUNT_ERR_LAB',
      `network namespaces of these names exist and are not of a lab: ${taken.join(', ')}; choose another --name, or remove them with: ip netns delete NAME`,
    )
}

/**
 * Transmit checksum offload off: a veth would leave checksums unfinished in the packet, and a forwarder's rewrite
 * would carry them on as they are; on a real wire every packet has one. With it goes TCP segmentation offload, and
 * receive aggregation (gro) stays off, so nothing larger than the MTU moves between nodes, as on a real wire.
 */
const offloads = (place: PlacePlan): Promise<string> =>
  mustRun(['ip', 'netns', 'exec', place.netns, 'ethtool', '-K', 'eth0', 'tx', 'off', 'gro', 'off'])

const sysctls = (place: PlacePlan): Promise<string> =>
  mustRun([
    'ip',
    'netns',
    'exec',
    place.netns,
    'sysctl',
    '-qw',
    ...Object.entries(place.sysctls).map(([key, value]) => `${key}=${value}`),
  ])

/** Everything it makes goes with the namespaces, so deleting those undoes it, at any point. */
export const buildNetwork = async (plan: LabPlan): Promise<void> => {
  const places = withDevice(plan)
  await batch(
    null,
    plan.places.map(p => `netns add ${p.netns}`),
  )
  // Before there are devices: they take the defaults over when they are made.
  await settleAll(plan.places.map(sysctls))
  for (const place of plan.places)
    if (place.links.length > 0) await batch(place.netns, linkLines(place, plan.mtu))
  await settleAll(places.map(offloads))
  await settleAll(plan.places.map(p => batch(p.netns, addressLines(p))))
}

/** Replaces the router's way to a virtual IP. */
export const routeVip = async (plan: LabPlan, route: string): Promise<void> => {
  const router = plan.places.find(p => p.kind === 'router')!
  await mustRun(['ip', '-n', router.netns, 'route', 'replace', ...route.split(' ')])
}
