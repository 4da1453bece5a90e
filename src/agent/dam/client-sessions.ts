/** Sessions of clients (R-C2) as the packet worker is told of other members' ones: every member has all of them. Pure but for its ports. */
import { ATOM_KIND, type Atom } from '../../dam/types.ts'
import { RESOLVED } from '../dataplane/messages.ts'
import { kindOf } from './policy.ts'
import { type Resolved, resolvedWords } from './words.ts'

/** More wait for no turn of the worker; the rest is told with what comes next of them. */
const MOST_WAITING = 65_536

export class ClientSessions {
  readonly counters = { clients_told: 0, clients_untold: 0 }
  readonly #tell: (words: Uint32Array<ArrayBuffer>) => void
  #waiting: Resolved[] = []

  constructor(tell: (words: Uint32Array<ArrayBuffer>) => void) {
    this.#tell = tell
  }

  /** Another member's atom has come. True: `flush` has something to do. */
  learnt({ key, host, zombie }: Atom): boolean {
    // One that ends there ends here by its own time-out, or lives by what this node has seen.
    if (zombie || kindOf(key) !== ATOM_KIND.clientAddress) return false
    if (this.#waiting.length >= MOST_WAITING) {
      this.counters.clients_untold++
      return false
    }
    this.#waiting.push({ flow: key, host, how: RESOLVED.memberAtom })
    return true
  }

  flush(): void {
    if (this.#waiting.length === 0) return
    const records = this.#waiting
    this.#waiting = []
    this.counters.clients_told += records.length
    this.#tell(resolvedWords(records))
  }
}
