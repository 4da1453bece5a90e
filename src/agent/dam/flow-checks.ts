/** Asks hosts about idle flows of the packet path whose end may have passed unseen (dataplane/flow-doubts.ts). What nobody knows is not answered. */
import { FLOW_KEY_WORDS } from '../dataplane/flow-key.ts'
import { RESOLVE_WORDS, RESOLVED } from '../dataplane/messages.ts'
import type { OwnerAsker } from './owner-questions.ts'
import type { DamPolicy } from './policy.ts'
import type { Resolved } from './words.ts'

export interface FlowCheckPorts {
  policy(): DamPolicy
  /** Null: hosts cannot be asked. */
  owners(): OwnerAsker | null
  answer(records: readonly Resolved[]): void
}

export class FlowChecks {
  readonly counters = { asked: 0, open: 0, over: 0, unknown: 0 }
  readonly #ports: FlowCheckPorts

  constructor(ports: FlowCheckPorts) {
    this.#ports = ports
  }

  /** @param words records of RESOLVE_WORDS */
  async verify(words: Uint32Array): Promise<void> {
    const byService = new Map<string, Uint32Array[]>()
    for (let at = 0; at + RESOLVE_WORDS <= words.length; at += RESOLVE_WORDS) {
      const service = this.#ports.policy().serviceAt(words[at + FLOW_KEY_WORDS + 1])
      if (service === undefined) continue
      this.counters.asked++
      const flows = byService.get(service.name) ?? []
      byService.set(service.name, flows)
      flows.push(words.slice(at, at + FLOW_KEY_WORDS))
    }
    const owners = this.#ports.owners()
    if (owners === null) return
    await Promise.all(
      [...byService].map(async ([service, flows]) => {
        const answers = await owners.ask(service, flows).catch(() => [])
        const records = flows.flatMap((flow, i) => this.#record(flow, answers[i]))
        if (records.length > 0) this.#ports.answer(records)
      }),
    )
  }

  #record(flow: Uint32Array, said: Awaited<ReturnType<OwnerAsker['ask']>>[number] | undefined): Resolved[] {
    const host = said?.host ?? null
    const address = host === null ? undefined : this.#ports.policy().hostAddress(host)
    if (address !== undefined) {
      this.counters.open++
      return [{ flow, host: address, how: RESOLVED.host }]
    }
    // A host without an address of now may have it all the same.
    if (host === null && said?.certain === true) {
      this.counters.over++
      return [{ flow, host: 0, how: RESOLVED.nobody }]
    }
    this.counters.unknown++
    return []
  }
}
