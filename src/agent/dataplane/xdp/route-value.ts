import { MAPPED, PINNED } from './route-layout.ts'

/** What a route says (R-A3), without when it was used. */
export interface RouteContent {
  /** 32 bits; the top byte is the host's index (decision 4). For the own host: that byte alone. */
  readonly identifier: number
  /** ROUTE_STATE. */
  readonly state: number
  /** 0..63, a serial number: a change by an older one is refused. */
  readonly generation: number
  /** The host has acknowledged the mapping: packets may go in tunnelled form. */
  readonly mapped: boolean
  /** Never evicted, never expires. */
  readonly pinned: boolean
}

export interface Route extends RouteContent {
  /** Tick of the last packet, 0..65535. */
  readonly stamp: number
}

export const hostOf = (content: RouteContent): number => content.identifier >>> 24

export const packContent = ({ identifier, state, generation, mapped, pinned }: RouteContent): bigint =>
  BigInt(identifier >>> 0) |
  (BigInt(((state & 7) << 27) | ((generation & 63) << 20)) << 32n) |
  (mapped ? MAPPED : 0n) |
  (pinned ? PINNED : 0n)

export const unpackRoute = (value: bigint): Route => {
  const high = Number(value >> 32n)
  return {
    identifier: Number(value & 0xffffffffn),
    state: (high >>> 27) & 7,
    generation: (high >>> 20) & 63,
    mapped: (value & MAPPED) !== 0n,
    pinned: (value & PINNED) !== 0n,
    stamp: high & 0xffff,
  }
}

/** Whether generation `a` is older than `b` (serial numbers of six bits). */
export const isOlder = (a: number, b: number): boolean => ((a - b) & 63) > 31
