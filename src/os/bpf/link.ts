/** Links: a program on an interface for as long as somebody holds the link, by descriptor or by pin. */
import { errnoSymbol, pinned } from '../ffi.ts'
import { BpfObject, objectInfo, openPinned } from './object.ts'
import type { BpfProgram } from './program.ts'
import { BPF, bpf, failBpf, tryBpf } from './syscall.ts'

const INFO_BYTES = 32
const ATTACH_XDP = 37
const ATTACH = { ingress: 46, egress: 47 } as const // BPF_TCX_INGRESS, _EGRESS
const XDP_FLAGS = { generic: 1 << 1, native: 1 << 2 } as const
const F_REPLACE = 1 << 2
const LINK_KINDS: Record<number, LinkInfo['kind']> = { 6: 'xdp', 11: 'tcx' }

/** `native`: in the driver, before the kernel has made a packet of its own. `generic`: after that; any driver, and slower. */
export type XdpMode = 'native' | 'generic'

export interface LinkInfo {
  id: number
  kind: 'xdp' | 'tcx' | 'other'
  programId: number
  /** 0 once the interface is gone: the link is then attached to nothing. */
  interfaceIndex: number
}

export class BpfLink extends BpfObject {
  /** The link pinned at a path; `null` when nothing is there. Throws OsError. */
  static open(path: string): BpfLink | null {
    const fd = openPinned(path)
    return fd === null ? null : new BpfLink(fd)
  }

  info(): LinkInfo {
    const info = objectInfo(this.fd, INFO_BYTES)
    return {
      kind: LINK_KINDS[info.readUInt32LE(0)] ?? 'other',
      id: info.readUInt32LE(4),
      programId: info.readUInt32LE(8),
      interfaceIndex: info.readUInt32LE(16),
    }
  }

  /**
   * Puts another program of the same kind in place, atomically: each packet is seen by the one or by the other. With
   * `expected` only if that one is there. Throws OsError: EPERM for another one, EINVAL for another kind.
   */
  update(program: BpfProgram, expected?: BpfProgram): void {
    const attributes = pinned(16) // u32 link_fd, new_prog_fd, flags, old_prog_fd
    attributes.writeUInt32LE(this.fd, 0)
    attributes.writeUInt32LE(program.fd, 4)
    attributes.writeUInt32LE(expected === undefined ? 0 : F_REPLACE, 8)
    attributes.writeUInt32LE(expected?.fd ?? 0, 12)
    bpf(BPF.LINK_UPDATE, 'replace the program of a link', attributes)
  }

  /** Takes the program off the interface now, whoever else holds the link; twice is harmless. Throws OsError. */
  detach(): void {
    const attributes = pinned(4)
    attributes.writeUInt32LE(this.fd, 0)
    bpf(BPF.LINK_DETACH, 'detach a link', attributes)
  }
}

const create = (program: BpfProgram, interfaceIndex: number, attachType: number, flags: number): number => {
  const attributes = pinned(32) // u32 prog_fd, target_ifindex, attach_type, flags; tcx: u32 relative; u64 revision
  for (const [index, value] of [program.fd, interfaceIndex, attachType, flags].entries())
    attributes.writeUInt32LE(value, index * 4)
  return tryBpf(BPF.LINK_CREATE, attributes)
}

const TAKEN = 'another XDP program is on it (see `ip -details link`): take that off first'
const HINTS: Record<string, string> = {
  EBUSY: TAKEN,
  // Of the other mode.
  EEXIST: TAKEN,
  ERANGE: 'its MTU is too large for this program: use one of the kind xdp.frags, or a smaller MTU',
  EOPNOTSUPP: 'its driver has no XDP: use generic mode',
  ENODEV: 'there is no such interface in this network namespace',
}

const failAttach = (what: string, number: number): never => failBpf(what, number, HINTS[errnoSymbol(number)])

export interface XdpAttachment {
  link: BpfLink
  mode: XdpMode
  /** Why not native, if `auto` fell back. */
  reason?: string
}

/** Errors of a driver that cannot; the others (no rights, taken, no interface) would be the same in generic mode. */
const DRIVER_CANNOT: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'ERANGE', 'EINVAL', 'ENOTSUP'])

/**
 * Attaches an XDP program to an interface (index) of the calling thread's network namespace. `auto` takes native if the
 * driver can, else generic. Throws OsError with what to do.
 */
export const attachXdp = (
  program: BpfProgram,
  interfaceIndex: number,
  mode: XdpMode | 'auto' = 'auto',
): XdpAttachment => {
  const what = (tried: XdpMode): string => `attach XDP (${tried}) to interface ${interfaceIndex}`
  const first = mode === 'auto' ? 'native' : mode
  const result = create(program, interfaceIndex, ATTACH_XDP, XDP_FLAGS[first])
  if (result >= 0) return { link: new BpfLink(result), mode: first }
  const symbol = errnoSymbol(-result)
  if (mode !== 'auto' || !DRIVER_CANNOT.has(symbol)) return failAttach(what(first), -result)
  const second = create(program, interfaceIndex, ATTACH_XDP, XDP_FLAGS.generic)
  if (second < 0) return failAttach(what('generic'), -second)
  return { link: new BpfLink(second), mode: 'generic', reason: `native mode was refused: ${symbol}` }
}

/**
 * Attaches a tc program to an interface (index) as the last of those that are there (tcx, Linux 6.6).
 * Throws OsError: EINVAL before that.
 */
export const attachTcx = (
  program: BpfProgram,
  interfaceIndex: number,
  direction: keyof typeof ATTACH,
): BpfLink => {
  const result = create(program, interfaceIndex, ATTACH[direction], 0)
  if (result >= 0) return new BpfLink(result)
  const what = `attach tcx (${direction}) to interface ${interfaceIndex}`
  return errnoSymbol(-result) === 'EINVAL'
    ? failBpf(what, -result, 'tcx needs Linux 6.6 or later')
    : failAttach(what, -result)
}
