import type { SetElements } from '../../../os/netlink/nftables-elements.ts'
import { isIpv4 } from '../flow-key.ts'
import type { MappingPlace, Plumber, PlumbFailures, RouteKind, RoutePlace } from '../plumber.ts'
import { addressBytes, bytesOf, decKey, flowKeyBytes, portBytes } from './element-bytes.ts'

/** The part of the netlink batch writer that the plumber needs; tests give their own. */
export type ElementWriter = Pick<SetElements, 'add' | 'delete' | 'commit'>

interface Change {
  readonly failed: () => void
  readonly apply: (writer: ElementWriter) => void
  /** Removes what may stand in the way: the element that packets are looked up by (parts have keys of their own). */
  readonly undo: (writer: ElementWriter) => void
}

export type Tunnel6Of = (tunnel: number) => Uint32Array | undefined

const TCP = 6
/** Sets of IPv6 are named like those of IPv4. */
const named = (set: string, family: 4 | 6): string => (family === 6 ? `${set}6` : set)
const familyOf = (words: Uint32Array, at: number): 4 | 6 => (isIpv4(words, at) ? 4 : 6)
/** Commits spent on finding what a refused batch failed by: the kernel takes milliseconds to abort one. */
const RETRY_COMMITS = 24

/** Elements taken out in one commit; where one of them is not there, they go one by one. */
const REMOVALS_PER_COMMIT = 256

/** Slack by which the parts of a mapping outlive the look-up that leads to them, so no packet is half restored. */
const PART_SLACK_MS = 10_000

/**
 * Puts routes and mappings into the kernel in batches (decision 1): changes gather, `flush` commits them in one
 * netlink transaction. Of a batch that the kernel refuses the changes at fault are found by halving, within a budget, and
 * retried after removing what may stand in their way; what still fails is reported, and its flow stays on the slow path.
 */
export class NftPlumber implements Plumber {
  /** The kernel's elements have time-outs of their own. */
  readonly lasting = false
  readonly encapsulates = false
  readonly #writer: ElementWriter
  readonly #table: string
  readonly #failed: PlumbFailures
  readonly #tunnel6Of: Tunnel6Of
  /** IPv6 tunnel addresses as they stand in elements, by the IPv4 one. */
  readonly #tunnels6 = new Map<number, Uint8Array>()
  #budget = 0
  #pending: Change[] = []
  #mark = 0
  readonly counters = { batches: 0, changes: 0, batchFailures: 0, changeFailures: 0 }

  /** @param tunnel6Of a forwarder's IPv6 tunnel address, by its IPv4 one */
  constructor(
    writer: ElementWriter,
    table: string,
    failed: PlumbFailures,
    tunnel6Of: Tunnel6Of = () => undefined,
  ) {
    this.#tunnel6Of = tunnel6Of
    this.#writer = writer
    this.#table = table
    this.#failed = failed
  }

  get pending(): number {
    return this.#pending.length
  }

  #push(
    failed: () => void,
    parts: readonly { set: string; key: Uint8Array; data?: Uint8Array; timeoutMs: number }[],
  ): void {
    const table = this.#table
    this.#pending.push({
      failed,
      apply: writer => {
        for (const part of parts) writer.add({ table, ...part })
      },
      undo: writer => {
        const { set, key } = parts[parts.length - 1]
        writer.delete({ table, set, key })
        writer.commit()
      },
    })
  }

  /** Forwarder: flow key (ten words at `at`) -> identifier. */
  route(
    slot: number,
    key: Uint32Array,
    at: number,
    identifier: number,
    neutral: boolean,
    leaseMs: number,
  ): void {
    // Never put into the kernel: see ruleset.ts on identifiers whose checksum must be fixed.
    if (!neutral && key[at + 9] !== TCP) return
    const flow = flowKeyBytes(key, at)
    const family = familyOf(key, at)
    const failed = (): void => this.#failed.route(slot)
    if (neutral) {
      return this.#push(failed, [
        { set: named('route', family), key: flow, data: bytesOf([identifier, 'net']), timeoutMs: leaseMs },
      ])
    }
    const mark = bytesOf([identifier, 'host'])
    const longer = leaseMs + PART_SLACK_MS
    this.#push(failed, [
      { set: 'fixed_hi', key: mark, data: portBytes(identifier >>> 16), timeoutMs: longer },
      { set: 'fixed_lo', key: mark, data: portBytes(identifier & 0xffff), timeoutMs: longer },
      { set: named('fixed', family), key: flow, data: mark, timeoutMs: leaseMs },
    ])
  }

  /** Forwarder that is also the host: the packet is left to the own stack. */
  local(slot: number, key: Uint32Array, at: number, leaseMs: number): void {
    this.#push(
      () => this.#failed.route(slot),
      [{ set: named('local', familyOf(key, at)), key: flowKeyBytes(key, at), timeoutMs: leaseMs }],
    )
  }

  /** Takes a route out at once. */
  unroute(key: Uint32Array, at: number, kind: RouteKind): void {
    this.unrouteAll([{ key, at, kind }])
  }

  /** Takes routes out at once; none of them is in the kernel when this returns. */
  unrouteAll(entries: readonly RoutePlace[]): void {
    this.#takeOut(
      entries.map(({ key, at, kind }) => ({
        set: named(kind, familyOf(key, at)),
        key: flowKeyBytes(key, at),
      })),
    )
  }

  #takeOut(elements: readonly { readonly set: string; readonly key: Uint8Array }[]): void {
    this.flush()
    const remove = (element: { readonly set: string; readonly key: Uint8Array }): void =>
      this.#writer.delete({ table: this.#table, ...element })
    for (let from = 0; from < elements.length; from += REMOVALS_PER_COMMIT) {
      const some = elements.slice(from, from + REMOVALS_PER_COMMIT)
      some.forEach(remove)
      if (this.#writer.commit().ok || some.length === 1) continue
      // One that ended by itself fails its whole batch.
      for (const element of some) {
        remove(element)
        this.#writer.commit()
      }
    }
  }

  /** Host: (tunnel address, identifier) -> tuple (ten words at `at`). */
  mapping(
    slot: number,
    tunnel: number,
    identifier: number,
    tuple: Uint32Array,
    at: number,
    neutral: boolean,
    leaseMs: number,
  ): void {
    if (!neutral && tuple[at + 9] !== TCP) return
    const family = familyOf(tuple, at)
    const from = this.#tunnelBytes(tunnel, family)
    if (from === undefined) return this.#failed.mapping(slot)
    this.#mark = this.#mark >= 0x40000000 ? 1 : this.#mark + 1
    const number = this.#mark
    const mark = bytesOf([number, 'host'])
    const longer = leaseMs + PART_SLACK_MS
    const ports = tuple[at + 8]
    this.#push(
      () => this.#failed.mapping(slot),
      [
        { set: named('client', family), key: mark, data: addressBytes(tuple, at), timeoutMs: longer },
        { set: named('vip_of', family), key: mark, data: addressBytes(tuple, at + 4), timeoutMs: longer },
        ...(neutral
          ? [{ set: 'ports', key: mark, data: bytesOf([ports, 'net']), timeoutMs: longer }]
          : [
              { set: 'ports_hi', key: mark, data: portBytes(ports >>> 16), timeoutMs: longer },
              { set: 'ports_lo', key: mark, data: portBytes(ports & 0xffff), timeoutMs: longer },
            ]),
        {
          set: named(neutral ? 'dec' : 'dec_fixed', family),
          key: decKey(from, identifier, tuple[at + 9]),
          data: mark,
          timeoutMs: leaseMs,
        },
      ],
    )
  }

  /** Host: takes mappings out; their look-up is gone from the kernel when this returns. */
  unmap(entries: readonly MappingPlace[]): void {
    this.#takeOut(
      entries.flatMap(({ tunnel, identifier, protocol, family, neutral }) => {
        // One without an address was never put in.
        const from = family === 4 ? bytesOf([tunnel, 'net']) : this.#tunnels6.get(tunnel)
        const set = named(neutral ? 'dec' : 'dec_fixed', family)
        return from === undefined ? [] : [{ set, key: decKey(from, identifier, protocol) }]
      }),
    )
  }

  /** A forwarder that changes its address has its mappings taken out before others are put in: here stands what those in force have. */
  #tunnelBytes(tunnel: number, family: 4 | 6): Uint8Array | undefined {
    if (family === 4) return bytesOf([tunnel, 'net'])
    const words = this.#tunnel6Of(tunnel)
    if (words === undefined) return undefined
    const bytes = addressBytes(words, 0)
    this.#tunnels6.set(tunnel, bytes)
    return bytes
  }

  unmapTunnel(): boolean {
    return false
  }

  sweep(): void {}

  // KernelSetup takes the sets of a role that goes along with its rules.
  clearRoutes(): void {}
  clearMappings(): void {}

  flush(): void {
    const pending = this.#pending
    if (pending.length === 0) return
    this.#pending = []
    this.counters.batches++
    this.counters.changes += pending.length
    this.#budget = RETRY_COMMITS
    this.#apply(pending)
  }

  /** Halves a refused batch until the changes at fault stand alone. */
  #apply(changes: readonly Change[]): void {
    for (const change of changes) change.apply(this.#writer)
    const result = this.#writer.commit()
    if (result.ok) return
    this.counters.batchFailures++
    // A full set stays full for the next ones too.
    if (result.symbol === 'ENFILE' || this.#budget <= 0) return this.#giveUp(changes)
    if (changes.length > 1) {
      const half = changes.length >> 1
      this.#budget -= 2
      this.#apply(changes.slice(0, half))
      return this.#apply(changes.slice(half))
    }
    this.#budget -= 2
    changes[0].undo(this.#writer)
    changes[0].apply(this.#writer)
    if (!this.#writer.commit().ok) this.#giveUp(changes)
  }

  #giveUp(changes: readonly Change[]): void {
    for (const change of changes) {
      this.counters.changeFailures++
      change.failed()
    }
  }
}
