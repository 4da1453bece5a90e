/** Moves of VIPs as an operator would tell them: from whom to whom, and why, as far as the claims and what is seen here say. Pure. */
import type { EventKind, EventRow } from '../../control/cluster-types.ts'
import type { Claim } from '../../ownership/types.ts'

/** Of a holder, as this node sees it: `silent` its agent is not heard, `leaving` it hands over what it has, `none` it is no forwarder. */
export type HolderState = 'alive' | 'silent' | 'leaving' | 'none'

export interface Move {
  readonly kind: EventKind & `vip.${string}`
  readonly severity: EventRow['severity']
  /** The new holder, or the former one where there is no new one. */
  readonly subject: string
  readonly text: string
}

export class Moves {
  readonly #self: string
  readonly #stateOf: (name: string) => HolderState
  /** The claim that was told last, and who held the VIP before. */
  readonly #known = new Map<string, { readonly claim: Claim; readonly before: string }>()

  constructor(self: string, stateOf: (name: string) => HolderState) {
    this.#self = self
    this.#stateOf = name => stateOf(name)
  }

  /** Only these VIPs are there from now on. */
  keep(vips: readonly string[]): void {
    for (const vip of this.#known.keys()) if (!vips.includes(vip)) this.#known.delete(vip)
  }

  /** Null: it tells nothing new. The same claim may come again and again. */
  see(claim: Claim): Move | null {
    const known = this.#known.get(claim.vip)
    const { vip, holder, ordered } = claim
    const former = known?.claim.holder
    this.#known.set(vip, { claim, before: former === holder ? known!.before : (former ?? '') })
    if (former === undefined)
      return holder === this.#self ? this.#move(claim, 'info', `${holder} holds ${vip}`) : null
    if (former !== holder) return this.#moved(claim, former, known!.claim.death && known!.before === holder)
    if (holder === '' || ordered === known!.claim.ordered) return null
    const text = ordered ? `${holder} keeps ${vip}, by order` : `no order keeps ${vip} at ${holder} any more`
    return this.#move(claim, 'info', text)
  }

  #move({ holder }: Claim, severity: Move['severity'], text: string): Move {
    return { kind: holder === this.#self ? 'vip.held' : 'vip.moved', severity, subject: holder, text }
  }

  /** @param isBack it was taken from this holder by one that had been parted from it */
  #moved(claim: Claim, former: string, isBack: boolean): Move {
    const { vip, holder } = claim
    const mine = former === this.#self
    if (holder === '') {
      const text = mine
        ? `${former} no longer holds ${vip}; nobody knows yet who does`
        : `nobody holds ${vip} now: ${former}, which did, ended or stood still`
      return { kind: mine ? 'vip.released' : 'vip.moved', severity: 'warning', subject: former, text }
    }
    if (former === '') return this.#move(claim, 'info', `${holder} holds ${vip}; nobody did before`)
    const [why, isMeant] = this.#why(claim, former, isBack)
    const severity = isMeant ? 'info' : 'warning'
    if (!mine) return this.#move(claim, severity, `${holder} holds ${vip}, ${former} did before: ${why}`)
    const text = `${former} no longer holds ${vip}; ${holder} does: ${why}`
    return { kind: 'vip.released', severity, subject: former, text }
  }

  /** And whether somebody wanted it so. */
  #why({ holder, ordered, death }: Claim, former: string, isBack: boolean): [why: string, isMeant: boolean] {
    if (isBack) return [`${holder} had it all the while, and they were parted`, false]
    if (death && former === this.#self) return [`the machine of ${former} seemed dead to ${holder}`, false]
    if (death) return [`the machine of ${former} is dead`, false]
    if (ordered) return ['by order', true]
    const state = this.#stateOf(former)
    if (state === 'leaving') return [`${former} leaves`, false]
    if (state === 'none') return [`${former} is no forwarder any more`, false]
    if (state === 'silent') return [`the agent of ${former} is not heard`, false]
    return ['to even out shares', true]
  }
}
