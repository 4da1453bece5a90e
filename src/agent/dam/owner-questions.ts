/** What the atom manager needs of whoever asks hosts which of them holds a connection's socket (R-G7). */

export interface Ownership {
  /** Name of the host that has its socket; null: none said so. */
  readonly host: string | null
  /** All that could have it have answered. */
  readonly certain: boolean
}

export interface OwnerAsker {
  /**
   * Resolves within 300 ms or so.
   * @param keys of flows of one service, ten words each
   * @param again for each whether packets of it have come again: some of the rate is for those. Left out: of none
   */
  ask(
    service: string,
    keys: readonly Uint32Array[],
    again?: readonly boolean[],
  ): Promise<readonly Ownership[]>
}
