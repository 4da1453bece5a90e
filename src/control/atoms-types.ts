/** Part of types.ts: `GET /v1/atoms`. */
import type { TraceQuery } from './trace-types.ts'

export interface AtomQuery {
  /** Look this one up. */
  flow?: TraceQuery
}

export interface AtomMemberRow {
  name: string
  self: boolean
  /** Raised at each start with an empty table. */
  incarnation: number
  /** It hands over what it has. */
  leaving: boolean
  /** It can be asked now. */
  linked: boolean
}

/** What one member has of one connection. */
export interface AtomData {
  place: 'own' | 'copy' | 'cached' | 'ended'
  /** `null`: no host of now has the address. */
  host: string | null
  /** The member that answers for it. */
  owner: string
  /** Whose it was before others took it over from one that seemed dead. */
  home: string
  generation: number
  /** Copies besides the owner's. */
  wanted: number | 'full'
  /** Of this version. */
  ageMs: number
  /** Since it was last in use, or came here. */
  idleMs: number
  ended: boolean
}

export interface ServiceAtomsRow {
  service: string
  wanted: number | 'full' | 'none'
  /** Copies that the members there are can keep of one that this node answers for. */
  possible: number
  /** That this node answers for. */
  own: number
  /** Of others, kept here. */
  copies: number
}

export interface AtomsData {
  /** `null`: this node is neither forwarder nor classifier, and no member. */
  incarnation: number | null
  /** Every copy that services ask for is where it should be; `null`: this node is no member. */
  settled: boolean | null
  /** Copies are on their way to where the members of now want them. */
  moving: boolean
  members: AtomMemberRow[]
  used: number
  capacity: number
  /** Memory that a full table takes. */
  bytes: number
  places: { own: number; copies: number; cached: number; ended: number }
  evicted: number
  /** Taken over from lost members, to be asked for again. */
  unsure: number
  services: ServiceAtomsRow[]
  counters: Record<string, number>
  /** Of the connection that was asked for; `null`: there is none here. */
  atom: AtomData | null
}
