/**
 * One-way chains that make a heartbeat's error-checking data (R-B5): token_i is the first 8 bytes of SHA-256 of token_(i+1), token_0
 * is the anchor. Who knows a token can check later ones but make none; 8 bytes prove that the host lives and that its table has
 * not changed. As in S/KEY (RFC 2289), but each token is good for one beat and worth nothing after it, so 64 bits do.
 */
import { sha256 } from './hash.ts'
import { TOKEN_BYTES } from './types.ts'

export const CHAIN_LINKS = 512
/** The longest chain, and the most hashes that checking one token costs. */
export const MAX_LINKS = 4096
export const SEED_BYTES = 32

const TOKEN = /^[0-9a-f]{16}$/

export class TokenChain {
  /** token_0, lowercase hexadecimal. */
  readonly anchor: string
  readonly links: number
  /** Tokens one after the other, token_0 first: a chain of 512 is 4 kB, and every token at hand. */
  readonly #tokens: Uint8Array

  /** `seed`: 32 unpredictable bytes; `links` 1 to 4096. Throws RangeError. */
  constructor(seed: Uint8Array, links: number = CHAIN_LINKS) {
    if (seed.length !== SEED_BYTES)
      throw new RangeError(`a chain's seed has ${SEED_BYTES} bytes, not ${seed.length}`)
    if (!Number.isInteger(links) || links < 1 || links > MAX_LINKS)
      throw new RangeError(`a chain has 1 to ${MAX_LINKS} links, not ${links}`)
    this.links = links
    this.#tokens = new Uint8Array((links + 1) * TOKEN_BYTES)
    let token = earlier(seed)
    for (let position = links; ; position--) {
      this.#tokens.set(token, position * TOKEN_BYTES)
      if (position === 0) break
      token = earlier(token)
    }
    this.anchor = token.toString('hex')
  }

  /** `position` 1 to `links`. Throws RangeError. */
  token(position: number): string {
    if (!Number.isInteger(position) || position < 1 || position > this.links)
      throw new RangeError(
        `this chain has tokens 1 to ${this.links}, not ${position}: begin a new generation`,
      )
    return Buffer.from(this.#tokens.buffer, position * TOKEN_BYTES, TOKEN_BYTES).toString('hex')
  }
}

/**
 * Whether `token` is the chain's number `position`, by an earlier one that is known (the anchor has position 0). False, after at most
 * 4096 hashes, for anything else: the same or an earlier position, one too far off, or text that is no token.
 */
export const verifyToken = (
  known: { readonly token: string; readonly position: number },
  token: string,
  position: number,
): boolean => {
  const steps = position - known.position
  if (!Number.isInteger(steps) || steps < 1 || steps > MAX_LINKS || !TOKEN.test(token)) return false
  let at: Buffer = Buffer.from(token, 'hex')
  for (let i = 0; i < steps; i++) at = earlier(at)
  return at.toString('hex') === known.token
}

const earlier = (token: Uint8Array): Buffer => sha256(token).subarray(0, TOKEN_BYTES)
