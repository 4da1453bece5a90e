/**
 * Who holds a virtual IP (R-A6): on a network whose router knows nothing of load balancing, exactly one forwarder answers ARP or neighbour
 * discovery for it. What forwarders tell each other of it over kept streams.
 */

/**
 * That a forwarder holds a VIP, by its own word: nobody claims for another. Of two claims of a VIP the higher one is in force (claims.ts);
 * who hears of one that is higher than its own stops holding at once.
 */
export interface Claim {
  readonly vip: string
  /** Above those of all claims of this VIP that the claimant knew (generation.ts); 1 to 2^48 - 1. */
  readonly generation: number
  /** Name of the forwarder; empty: whoever held it does no longer. */
  readonly holder: string
  /** An operator wants it there: it is not moved to even out shares, and counts in none. */
  readonly ordered: boolean
  /** It was taken because the machine of the holder before seemed dead. */
  readonly death: boolean
  /** How many nodes of any role the claimant saw alive then, itself among them. */
  readonly support: number
  /**
   * While the holder's agent is silent its kernel takes no new connections for this VIP: others take it as soon as that kernel has let go of the
   * address. Left out: it goes on, and the VIP stays for the grace.
   */
  readonly brief?: true
}

/** Of a forwarder, at least once a second, and at once when it changes. */
export interface Standing {
  readonly type: 'standing'
  /** 0 to 99: its share of the VIPs is in proportion; 0 holds one only if nobody else can, or by order. */
  readonly weight: number
  /** It has heard of the others, or waited for them, and takes VIPs. */
  readonly ready: boolean
  /** It hands over what it holds. */
  readonly leaving: boolean
  /** It reads `brief` in claims. Left out: an older peer, which waits for the grace in any case. */
  readonly readsBrief?: true
  /** Forwarders whose machines it sees alive. */
  readonly sees: readonly string[]
  /** Of all claims that it knows: who knows others sends them. */
  readonly digest: string
}

export type OwnershipMessage =
  | Standing
  | { readonly type: 'claims'; readonly claims: readonly Claim[] }
  /** The receiver is to take this VIP, unless there is a claim above this generation. */
  | {
      readonly type: 'take'
      readonly vip: string
      readonly generation: number
      readonly ordered: boolean
    }

/** In one message; more go in several. */
export const MOST_CLAIMS = 1_024
export const MOST_SEEN = 1_024
export const MAX_WEIGHT = 99
export const DIGEST_LENGTH = 16
