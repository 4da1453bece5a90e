/** The programs of edge.bpf.c on the interfaces that they are for. */
import { errorText, ShuntError } from '../../../errors.ts'
import { attachXdp, type BpfLink, type XdpMode } from '../../../os/bpf/link.ts'
import type { LoadedObject } from '../../../os/bpf/load.ts'
import { xdpFeatures } from '../../../os/netlink/xdp-features.ts'
import type { XdpExit, XdpLink, XdpPlan } from './xdp-plan.ts'

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
  /** By interface index. */
  readonly #attached = new Map<number, Attached>()
  readonly #refused = new Map<string, string>()

  constructor(object: LoadedObject) {
    this.#object = object
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

  /** Throws when an interface can have no program, or, if only native ones were wanted, no native one. */
  attachAll(plan: XdpPlan): void {
    for (const link of plan.links) {
      const { mode, reason } = this.#attach(link, plan)
      if (plan.asked === 'auto' && mode !== 'native')
        throw new ShuntError('SHUNT_ERR_DATAPLANE', `${link.name} has no native XDP (${reason})`)
    }
  }

  /** Follows another plan; an interface that cannot have a program is left to what is behind. */
  update(plan: XdpPlan): void {
    this.#refused.clear()
    for (const [index, { link }] of this.#attached)
      if (plan.links.every(wanted => wanted.index !== index)) {
        link.close()
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
    const stuck =
      attachment.mode === 'native' && program !== 'edge_cluster'
        ? plan.exits.find(exit => !takesFrames(exit, wanted))
        : undefined
    if (stuck !== undefined) {
      attachment.link.close()
      const reason = `${stuck.name} takes no frames from native XDP`
      attachment = { ...attachXdp(code, index, 'generic'), reason }
    }
    const { link, mode, reason = null } = attachment
    const attached = { link, mode, name, program, reason }
    this.#attached.set(index, attached)
    return attached
  }

  close(): void {
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
