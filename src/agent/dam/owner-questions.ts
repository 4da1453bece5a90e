/** What the atom manager needs of whoever asks hosts which of them holds a connection's socket (R-G7). */

export interface Ownership {
  /** Name of the host that has its socket; null: none said so. */
  readonly host: string | null
  /** All that could have it have answered. */
  readonly certain: boolean
}

export interface OwnerAsker {
  /** @param keys of flows of one service, ten words each. Resolves within 300 ms or so. */
  ask(service: string, keys: readonly Uint32Array[]): Promise<readonly Ownership[]>
}
