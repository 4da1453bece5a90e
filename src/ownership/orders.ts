/** An operator's orders of VIPs: given to the forwarder that is to follow, which claims the VIP; they last until it dies or leaves. Pure, but for its port. */
import type { Holdings, OwnershipPort } from './holdings.ts'
import type { Members } from './members.ts'

/** Where the VIP is to be, which is under way; or why not. */
export type OrderAnswer = { to: string } | { refused: string }

export class Orders {
  readonly #self: string
  readonly #own: Holdings
  readonly #members: Members
  readonly #port: Pick<OwnershipPort, 'send'>

  constructor(self: string, own: Holdings, members: Members, port: Pick<OwnershipPort, 'send'>) {
    this.#self = self
    this.#own = own
    this.#members = members
    this.#port = port
  }

  /** @param target undefined: nobody can take it @param isAble whether this node takes VIPs now */
  give(vip: string, target: string | undefined, isAble: boolean, nowMs: number): OrderAnswer {
    if (target === undefined) return { refused: 'there is no other forwarder that can take it' }
    if (target === this.#self) {
      if (!isAble) return { refused: `${target} takes no VIPs now` }
      const claim = this.#own.claims.of(vip)
      if (!this.#own.held.has(vip) || claim?.ordered !== true) this.#own.claim(vip, nowMs, { ordered: true })
      return { to: target }
    }
    const member = this.#members.get(target)
    if (member === undefined) {
      const names = [this.#self, ...this.#members.all().map(({ name }) => name)].sort()
      return { refused: `${target} is no forwarder; there are: ${names.join(', ')}` }
    }
    if (!this.#members.canTake(member))
      return { refused: `${target} cannot be reached, or takes no VIPs now` }
    const generation = this.#own.claims.generationOf(vip)
    this.#port.send(target, { type: 'take', vip, generation, ordered: true })
    return { to: target }
  }

  end(vip: string, nowMs: number): OrderAnswer {
    const claim = this.#own.claims.of(vip)
    const holder = claim?.holder || null
    if (holder === null) return { refused: `nobody holds ${vip} now` }
    if (claim?.ordered !== true) return { to: holder }
    if (this.#own.held.has(vip)) this.#own.claim(vip, nowMs, {})
    else if (holder !== this.#self) {
      const member = this.#members.get(holder)
      if (member === undefined || !this.#members.canTake(member))
        return { refused: `${holder}, which holds ${vip}, cannot be reached, or leaves` }
      this.#port.send(holder, { type: 'take', vip, generation: claim.generation, ordered: false })
    }
    return { to: holder }
  }
}
