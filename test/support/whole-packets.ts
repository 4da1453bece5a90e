/** Packets in full encapsulation (R-A4), built by RFC 2003 and RFC 2473 with no code of the data plane. */

import { type Family, TUNNEL } from './dataplane-world.ts'
import { OWN } from './host-cases.ts'
import { buildIp4, buildIp6, type PacketOptions } from './packets.ts'

export const ECN = { none: 0, ect1: 1, ect0: 2, ce: 3 } as const

/** An inner packet whole in an outer one of `family`, from a tunnel address to this node unless the options say otherwise. */
export const wrapped = (inner: Uint8Array, family: Family, options: PacketOptions = {}): Uint8Array => {
  const build = family === 4 ? buildIp4 : buildIp6
  const atomic = { identification: 0, ...(family === 4 ? { dontFragment: true } : {}) }
  return build(inner[0] >>> 4 === 4 ? 4 : 41, inner, {
    source: TUNNEL[family],
    destination: OWN[family],
    ttl: 64,
    ...atomic,
    ...options,
  })
}

/** RFC 6040, figure 4: rows inner, columns outer; null: dropped. */
export const CARRIED: Readonly<Record<number, Readonly<Record<number, number | null>>>> = {
  [ECN.none]: { [ECN.none]: ECN.none, [ECN.ect0]: ECN.none, [ECN.ect1]: ECN.none, [ECN.ce]: null },
  [ECN.ect0]: { [ECN.none]: ECN.ect0, [ECN.ect0]: ECN.ect0, [ECN.ect1]: ECN.ect1, [ECN.ce]: ECN.ce },
  [ECN.ect1]: { [ECN.none]: ECN.ect1, [ECN.ect0]: ECN.ect1, [ECN.ect1]: ECN.ect1, [ECN.ce]: ECN.ce },
  [ECN.ce]: { [ECN.none]: ECN.ce, [ECN.ect0]: ECN.ce, [ECN.ect1]: ECN.ce, [ECN.ce]: ECN.ce },
}
