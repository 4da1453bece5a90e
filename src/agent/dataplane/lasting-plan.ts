/** Where the state is that outlives the agent (R-G4), and whether what is there can be gone on with. */
export interface LastingPlan {
  /** Folder of the tables' columns. */
  readonly columns: string
  /** Folder of pins; null: there can be none. */
  readonly pins: string | null
  /** Indexes of hosts and numbers of services, and the node's addresses, mean what they meant to the agent before. */
  readonly adopt: boolean
}

/** What became of it; for people. */
export interface Adopted {
  /** Flows and mappings that this agent knows from the one before. */
  readonly flows: number
  readonly mappings: number
  /** Of them, routes and mappings that stayed in the kernel all the time. */
  readonly routesInKernel: number
  readonly mappingsInKernel: number
  /** The epoch went on, so that hosts keep their mappings. */
  readonly sameEpoch: boolean
  /** What was begun anew, and why; a sentence each. */
  readonly notes: readonly string[]
}
