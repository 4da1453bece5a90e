/** Token bucket: bounds what one peer may make this node read (bytes plus a fixed price a frame). Pure. */

export interface BucketSettings {
  ratePerS: number
  burst: number
}
export interface Bucket {
  readonly tokens: number
  readonly atMs: number
}

/**
 * Takes `cost` tokens, which may leave a debt; `waitMs` is how long to take nothing more (0: go on).
 * Time that runs backwards earns nothing.
 */
export const takeTokens = (
  bucket: Bucket,
  cost: number,
  nowMs: number,
  { ratePerS, burst }: BucketSettings,
): { bucket: Bucket; waitMs: number } => {
  const earned = (Math.max(0, nowMs - bucket.atMs) * ratePerS) / 1000
  const tokens = Math.min(burst, bucket.tokens + earned) - cost
  return { bucket: { tokens, atMs: nowMs }, waitMs: tokens >= 0 ? 0 : Math.ceil((-tokens * 1000) / ratePerS) }
}
