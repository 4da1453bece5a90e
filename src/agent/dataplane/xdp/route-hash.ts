import { ROUTE_SECRET_WORDS } from './route-layout.ts'

/** A 64-bit number in two halves, because BigInt allocates. */
let high = 0
let low = 0

const multiply = (aHigh: number, aLow: number, bHigh: number, bLow: number): void => {
  const a1 = aLow >>> 16
  const a0 = aLow & 0xffff
  const b1 = bLow >>> 16
  const b0 = bLow & 0xffff
  const across = a0 * b1
  const back = a1 * b0
  const middle = ((a0 * b0) >>> 16) + (across & 0xffff) + (back & 0xffff)
  low = Math.imul(aLow, bLow) >>> 0
  high =
    (a1 * b1 +
      (across >>> 16) +
      (back >>> 16) +
      (middle >>> 16) +
      (Math.imul(aHigh, bLow) >>> 0) +
      (Math.imul(aLow, bHigh) >>> 0)) >>>
    0
}

/** Where a key's two buckets are, and the fingerprint of an IPv6 address: the functions of bpf/route-table.h. */
export class RouteHash {
  first = 0
  second = 0
  fingerprint = 0
  readonly #high = new Uint32Array(ROUTE_SECRET_WORDS)
  readonly #low = new Uint32Array(ROUTE_SECRET_WORDS)
  readonly #buckets: number

  constructor(secret: BigUint64Array, buckets: number) {
    for (let i = 0; i < ROUTE_SECRET_WORDS; i++) {
      this.#high[i] = Number(secret[i] >> 32n)
      this.#low[i] = Number(secret[i] & 0xffffffffn)
    }
    this.#buckets = buckets
  }

  /** @param client as it stands in memory, little-endian; `rest`: port in the low half, as it stands, service in the high */
  hash4(client: number, rest: number): void {
    this.#product(client, rest, 0)
    this.#place()
  }

  hash6(a: number, b: number, c: number, d: number, rest: number): void {
    this.#product(a, b, 0)
    let sumHigh = high
    let sumLow = low
    this.#product(c, d, 2)
    sumLow += low
    sumHigh = (sumHigh + high + (sumLow > 0xffffffff ? 1 : 0)) >>> 0
    sumLow >>>= 0
    const more = rest + this.#low[4]
    multiply(this.#high[4] + (more > 0xffffffff ? 1 : 0), more >>> 0, this.#high[5], this.#low[5])
    low += sumLow
    high = (high + sumHigh + (low > 0xffffffff ? 1 : 0)) >>> 0
    low >>>= 0
    this.#place()
  }

  #product(x: number, y: number, at: number): void {
    const a = x + this.#low[at]
    const b = y + this.#low[at + 1]
    multiply(
      this.#high[at] + (a > 0xffffffff ? 1 : 0),
      a >>> 0,
      this.#high[at + 1] + (b > 0xffffffff ? 1 : 0),
      b >>> 0,
    )
  }

  #place(): void {
    const productHigh = high
    const productLow = (low ^ high) >>> 0
    multiply(productHigh, productLow, this.#high[7], this.#low[7])
    this.fingerprint = high
    multiply(productHigh, productLow, this.#high[6], this.#low[6])
    const folded = (low ^ high) >>> 0
    this.first = Math.floor((high * this.#buckets) / 4294967296)
    this.second = Math.floor((folded * this.#buckets) / 4294967296)
    if (this.second === this.first) this.second = this.first + 1 === this.#buckets ? 0 : this.first + 1
  }
}
