/**
 * Tokens that are redeemed at this node, with the places that are taken: kept on disk, so that a restart neither forgets
 * a token nor gives a place away twice.
 */
import { join } from 'node:path'
import type { TokenRegistration } from '../control/cluster-types.ts'
import { errorText, ShuntError } from '../errors.ts'
import { verifyEd25519 } from './peer-key.ts'
import { readPrivate } from './private-file.ts'
import { replaceFile } from './replace-file.ts'
import { tokenBytes } from './statement.ts'
import { joinKey } from './token.ts'

export const TOKENS_FILE = 'tokens.json'
const VERSION = 1
/** Outstanding at once; each is one HMAC for every unknown connection. */
export const MAX_TOKENS = 64
const MAX_USES = 1000
const SECRET_BYTES = 32
/** MAX_TOKENS with all places taken: below 5 MB. */
const MAX_BYTES = 16 * 1024 * 1024

export interface OutstandingToken {
  readonly registration: TokenRegistration
  /** Place (1 to uses) of each node that has one, by peer id. */
  readonly slots: ReadonlyMap<string, number>
  readonly key: Uint8Array
}

type Stored = TokenRegistration & { slots: Record<string, number> }

/** Why a registration is refused, or undefined. */
const problem = (
  registration: TokenRegistration,
  cluster: string,
  issuer: string,
  nowMs: number,
): string | undefined => {
  const { body } = registration
  if (registration.cluster !== cluster) return `it is of the cluster ${registration.cluster}, not of this one`
  if (body.issuer !== issuer) return `it names ${body.issuer} as its issuer, and this node is ${issuer}`
  if (!(body.uses >= 1 && body.uses <= MAX_USES && Number.isInteger(body.uses)))
    return `its uses must be 1 to ${MAX_USES}`
  if (!/^[\w-]{21}$/.test(body.token)) return 'its id is not one'
  if (!(body.expiresMs > nowMs)) return 'it has expired already'
  if (!(body.issuedMs < body.expiresMs)) return 'it ends before it begins'
  if (Buffer.from(registration.secret, 'base64').length !== SECRET_BYTES)
    return `its secret is not ${SECRET_BYTES} bytes`
  const operator = Buffer.from(cluster, 'base64url')
  const signature = Buffer.from(registration.signature, 'base64')
  return verifyEd25519(operator, tokenBytes(cluster, body), signature)
    ? undefined
    : 'the operator did not sign it'
}

export class TokenStore {
  readonly #file: string
  readonly #cluster: string
  readonly #issuer: string
  readonly #tokens = new Map<string, OutstandingToken & { slots: Map<string, number> }>()

  private constructor(file: string, cluster: string, issuer: string) {
    this.#file = file
    this.#cluster = cluster
    this.#issuer = issuer
  }

  /**
   * @param issuer this node's peer id
   * @throws ShuntError SHUNT_ERR_STATE when the file is there and damaged
   */
  static open(stateDir: string, cluster: string, issuer: string): TokenStore {
    const file = join(stateDir, TOKENS_FILE)
    const store = new TokenStore(file, cluster, issuer)
    let text: string | null
    try {
      text = readPrivate(file, MAX_BYTES)
    } catch (cause) {
      throw new ShuntError('SHUNT_ERR_STATE', `cannot read ${file}: ${errorText(cause)}`, { cause })
    }
    if (text === null) return store
    try {
      const value = JSON.parse(text) as { version: number; tokens: Stored[] }
      if (value.version !== VERSION) throw new Error(`its format is ${value.version}, not ${VERSION}`)
      for (const { slots, ...registration } of value.tokens)
        store.#keep(registration, new Map(Object.entries(slots)))
    } catch (cause) {
      throw new ShuntError(
        'SHUNT_ERR_STATE',
        `the list of join tokens, ${file}, is damaged (${errorText(cause)}): put a backup back with shunt restore, or remove it (its tokens are then void)`,
        { cause },
      )
    }
    return store
  }

  /**
   * Takes an operator's token; one that is known already is success.
   * @throws ShuntError SHUNT_ERR_TOKEN, or SHUNT_ERR_STATE when it cannot be saved: then it is not taken
   */
  register(registration: TokenRegistration, nowMs: number): void {
    const why = problem(registration, this.#cluster, this.#issuer, nowMs)
    if (why !== undefined) throw new ShuntError('SHUNT_ERR_TOKEN', `the token is refused: ${why}`)
    this.#forgetExpired(nowMs)
    if (this.#tokens.has(registration.body.token)) return
    if (this.#tokens.size >= MAX_TOKENS)
      throw new ShuntError(
        'SHUNT_ERR_TOKEN',
        `this node has ${MAX_TOKENS} tokens outstanding, which is all it keeps: wait until one expires, or issue it at another node`,
      )
    this.#keep(registration, new Map())
    this.#save(() => this.#tokens.delete(registration.body.token))
  }

  /** Those that can still be asked with; a token whose places are all taken stays for its joiners' second attempts. */
  outstanding(nowMs: number): OutstandingToken[] {
    return [...this.#tokens.values()].filter(({ registration }) => registration.body.expiresMs > nowMs)
  }

  find(token: string): OutstandingToken | undefined {
    return this.#tokens.get(token)
  }

  /**
   * The place of a node: the one that it has, or the lowest that nobody has; undefined when all are taken. On disk when it returns.
   * @param alsoTaken places that statements show as taken by other nodes
   * @throws ShuntError SHUNT_ERR_STATE when it cannot be saved: then no place is given
   */
  take(token: string, node: string, alsoTaken: ReadonlySet<number>): number | undefined {
    const entry = this.#tokens.get(token)
    if (entry === undefined) return undefined
    const has = entry.slots.get(node)
    // A list that was put back from a backup may not know of places that were taken after it.
    if (has !== undefined && !alsoTaken.has(has)) return has
    const taken = new Set([...entry.slots.values(), ...alsoTaken])
    for (let slot = 1; slot <= entry.registration.body.uses; slot++) {
      if (taken.has(slot)) continue
      entry.slots.set(node, slot)
      this.#save(() => {
        if (has === undefined) entry.slots.delete(node)
        else entry.slots.set(node, has)
      })
      return slot
    }
    return undefined
  }

  #keep(registration: TokenRegistration, slots: Map<string, number>): void {
    const key = joinKey(Buffer.from(registration.secret, 'base64'))
    this.#tokens.set(registration.body.token, { registration, slots, key })
  }

  #forgetExpired(nowMs: number): void {
    for (const [id, { registration }] of this.#tokens)
      if (registration.body.expiresMs <= nowMs) this.#tokens.delete(id)
  }

  /** `undo`: what memory is to forget when the disk does not take it. */
  #save(undo: () => void): void {
    const tokens = [...this.#tokens.values()].map(
      ({ registration, slots }): Stored => ({ ...registration, slots: Object.fromEntries(slots) }),
    )
    try {
      replaceFile(this.#file, `${JSON.stringify({ version: VERSION, tokens }, null, 1)}\n`)
    } catch (error) {
      undo()
      throw error
    }
  }
}
