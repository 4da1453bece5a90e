/** Whether this machine, and an interface of it, can run an XDP data plane; if not, why and what to do. */
import { release } from 'node:os'
import { errorText } from '../../errors.ts'
import { type Link, link } from '../netlink/links.ts'
import { type XdpFeatures, xdpFeatures } from '../netlink/xdp-features.ts'
import type { XdpMode } from './link.ts'
import { loadObject } from './load.ts'
import type { BpfObjectFile } from './object-file.ts'
import { PAGE_BYTES } from './syscall.ts'

/** Oldest kernel with all that is used: loader programs (5.14) and packets in several buffers (5.18). */
const OLDEST = [5, 18] as const
/** What of a page is left for a packet in one buffer: 256 before it, 320 and the link-layer header behind. */
const ONE_BUFFER_MTU = PAGE_BYTES - 256 - 320 - 14

export interface XdpCapability {
  /** How a program can be attached; `null`: not at all. */
  mode: XdpMode | null
  /** The program has to be of the kind xdp.frags: the MTU is larger than a buffer. */
  needsFrags: boolean
  /** A sentence for the user: why not, or why not native, or that it can. */
  reason: string
}

const no = (reason: string): XdpCapability => ({ mode: null, needsFrags: false, reason })

/** Pure: what kernel `version` (as `uname -r` says) lacks, or null. */
export const kernelTooOld = (version: string): string | null => {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? []
  if (major === undefined) return null // strange, but the attempt will tell
  const old = Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1])
  return old
    ? `Linux ${version} is too old: XDP needs ${OLDEST.join('.')} or later; nftables works meanwhile`
    : null
}

/** Pure: what an interface with these features (null: its driver did not tell) can do. */
export const interfaceCapability = (
  { name, mtu, mac }: Pick<Link, 'name' | 'mtu' | 'mac'>,
  features: XdpFeatures | null,
): XdpCapability => {
  if (mac === null) return no(`${name} has no Ethernet header: XDP needs an Ethernet interface`)
  const needsFrags = mtu > ONE_BUFFER_MTU
  const generic = (why: string): XdpCapability => ({
    mode: 'generic',
    needsFrags,
    reason: `${name}: ${why}; generic XDP works, at less speed`,
  })
  if (features === null)
    return { mode: 'native', needsFrags, reason: `${name}: its driver is asked when it is attached` }
  if (!features.basic || !features.redirect) return generic('its driver has no native XDP')
  if (needsFrags && !features.frags)
    return generic(`its driver has no native XDP for an MTU of ${mtu} (at most ${ONE_BUFFER_MTU})`)
  return { mode: 'native', needsFrags, reason: `${name}: native XDP works` }
}

/**
 * Tries bpf(2) by loading `probe`, then asks the driver of an interface of the calling thread's network namespace. Attaches
 * nothing: that would stop a network card for a moment. Does not throw.
 */
export const canXdp = (
  interfaceName: string,
  probe: { file: BpfObjectFile; layout: string },
): XdpCapability => {
  try {
    const old = kernelTooOld(release())
    if (old !== null) return no(old)
    loadObject(probe.file, { layout: probe.layout }).close()
    const found = link(interfaceName)
    return interfaceCapability(found, xdpFeatures(found.index))
  } catch (error) {
    return no(errorText(error))
  }
}
