/** The programs of edge.bpf.c on the interfaces that they are for. */
import { errorText, ShuntError } from '../../../errors.ts'
import { attachXdp, type BpfLink, type XdpMode } from '../../../os/bpf/link.ts'
import type { LoadedObject } from '../../../os/bpf/load.ts'
import type { BpfProgram } from '../../../os/bpf/program.ts'
import { xdpFeatures } from '../../../os/netlink/xdp-features.ts'
import type { EdgePins, PinnedLink } from './pins.ts'
import type { XdpExit, XdpLink, XdpPlan } from './xdp-plan.ts'

/** Of edge.bpf.c. */
export const EDGE_PROGRAMS: readonly XdpLink['program'][] = ['edge_uplink', 'edge_cluster', 'edge_both']

interface Attached {
  readonly link: BpfLink
  readonly name: string
  readonly mode: XdpMode
  /** Why not native. */
  readonly reason: string | null
  program: string
}

export class EdgeLinks {
  readonly #object: LoadedObject
  /** Links in force outlive the agent by it; null: they end with it. */
  readonly #pins: EdgePins | null
  /** By interface index. */
  readonly #attached = new Map<number, Attached>()
  readonly #refused = new Map<string, string>()

  constructor(object: LoadedObject, pins: EdgePins | null = null) {
    this.#object = object
    this.#pins = pins
  }

  /** For `shunt status`: `xdp native on eth0`. */
  get text(): string {
    const attached = [...this.#attached.values()]
    const on = (mode: XdpMode): string[] => {
      const names = attached.filter(entry => entry.mode === mode).map(({ name }) => name)
      return names.length === 0 ? [] : [`${mode} on ${names.join(', ')}`]
    }
    const all = [...on('native'), ...on('generic')]
    const not = [...this.#refused].map(([name, reason]) => `not on ${name} (${reason})`)
    return all.length + not.length === 0 ? 'xdp, on no interface now' : `xdp ${[...all, ...not].join('; ')}`
  }

  /** Why interfaces are not native, or have no program at all; a sentence each. */
  get reasons(): string[] {
    return [
      ...[...this.#attached.values()].flatMap(({ name, reason }) =>
        reason === null ? [] : [`${name}: ${reason}`],
      ),
      ...[...this.#refused].map(([name, reason]) => `${name} is left to nftables: ${reason}`),
    ]
  }

  /**
   * Puts the object's programs in the place of those that an agent before left, link by link and each at once: what is not to be replaced is
   * taken off. Throws OsError; then all is as it was.
   */
  takeOver(left: readonly PinnedLink[], plan: XdpPlan): void {
    const undo: (() => void)[] = []
    try {
      for (const { index, mode, link } of left) {
        const wanted = plan.links.find(entry => entry.index === index)
        if (wanted === undefined || !this.#mayGoOn(wanted, mode, link, plan)) continue
        const before = link.info().programId
        link.update(this.#object.program(wanted.program))
        undo.push(() => this.#putBack(link, before))
        const reason = mode === 'native' ? null : (this.#stuck(wanted, plan) ?? 'it was attached so before')
        this.#attached.set(index, { link, mode, name: wanted.name, program: wanted.program, reason })
      }
    } catch (error) {
      for (const step of undo) step()
      this.#attached.clear()
      for (const { link } of left) link.close()
      throw error
    }
    for (const { index, mode, link } of left) {
      if (this.#attached.get(index)?.link === link) continue
      link.detach()
      link.close()
      this.#pins?.unpinLink(index, mode)
    }
  }

  #mayGoOn(wanted: XdpLink, mode: XdpMode, link: BpfLink, plan: XdpPlan): boolean {
    if (link.info().interfaceIndex !== wanted.index) return false
    return mode === 'native' ? this.#stuck(wanted, plan) === null : plan.asked !== 'auto'
  }

  #putBack(link: BpfLink, programId: number): void {
    for (const name of EDGE_PROGRAMS) {
      const program: BpfProgram | null = this.#pins?.programBefore(name) ?? null
      if (program?.info().id === programId) link.update(program)
      program?.close()
    }
  }

  /** Why a program there cannot be native though the interface can; null: it can. */
  #stuck(wanted: XdpLink, plan: XdpPlan): string | null {
    if (wanted.program === 'edge_cluster') return null
    const exit = plan.exits.find(entry => !takesFrames(entry, wanted))
    return exit === undefined ? null : `${exit.name} takes no frames from native XDP`
  }

  /** Throws when an interface can have no program, or, if only native ones were wanted, no native one. */
  attachAll(plan: XdpPlan): void {
    for (const link of plan.links) {
      if (this.#attached.has(link.index)) continue
      const { mode, reason } = this.#attach(link, plan)
      if (plan.asked === 'auto' && mode !== 'native')
        throw new ShuntError('SHUNT_ERR_DATAPLANE', `${link.name} has no native XDP (${reason})`)
    }
  }

  /** Follows another plan; an interface that cannot have a program is left to what is behind. */
  update(plan: XdpPlan): void {
    this.#refused.clear()
    for (const [index, attached] of this.#attached)
      if (plan.links.every(wanted => wanted.index !== index)) {
        this.#takeOff(index, attached)
        this.#attached.delete(index)
      }
    for (const wanted of plan.links)
      try {
        const attached = this.#attached.get(wanted.index)
        if (attached === undefined) this.#attach(wanted, plan)
        else if (attached.program !== wanted.program) {
          attached.link.update(this.#object.program(wanted.program))
          attached.program = wanted.program
        }
      } catch (error) {
        this.#refused.set(wanted.name, errorText(error))
      }
  }

  #attach(wanted: XdpLink, plan: XdpPlan): Attached {
    const { index, name, program } = wanted
    const code = this.#object.program(program)
    let attachment = attachXdp(code, index, 'auto')
    const stuck = attachment.mode === 'native' ? this.#stuck(wanted, plan) : null
    if (stuck !== null) {
      attachment.link.close()
      attachment = { ...attachXdp(code, index, 'generic'), reason: stuck }
    }
    const { link, mode, reason = null } = attachment
    const attached = { link, mode, name, program, reason }
    this.#attached.set(index, attached)
    // One of an interface that has gone may be in its place.
    this.#pins?.unpinLink(index, mode)
    this.#pins?.pinLink({ index, mode, link })
    return attached
  }

  #takeOff(index: number, { link, mode }: Attached): void {
    this.#pins?.unpinLink(index, mode)
    try {
      link.detach()
    } catch {
      // Its interface went, and the program with it.
    }
    link.close()
  }

  /** Indexes of those interfaces of a host whose program may send back what came in by it. */
  answering({ answers }: XdpPlan): number[] {
    return answers
      .filter(({ index, kind }) => {
        const mode = this.#attached.get(index)?.mode
        return mode === 'generic' || (mode === 'native' && kind !== 'veth')
      })
      .map(({ index }) => index)
  }

  /** Takes the programs off. */
  close(): void {
    for (const [index, attached] of this.#attached) this.#takeOff(index, attached)
    this.#attached.clear()
  }

  /** Leaves them where they are: for the next agent, if they are pinned. */
  leave(): void {
    for (const { link } of this.#attached.values()) link.close()
    this.#attached.clear()
  }
}

/** Whether native XDP on `from` can send by `exit`: otherwise the kernel would drop what it is given, silently. */
const takesFrames = (exit: XdpExit, from: XdpLink): boolean => {
  // Its other end may not listen; and with Linux 6.18, where that is a port of a bridge, a burst leaves it deaf to all that comes.
  if (exit.kind === 'veth') return false
  // Every other driver sends back by itself.
  return exit.index === from.index || (xdpFeatures(exit.index)?.target ?? true)
}
