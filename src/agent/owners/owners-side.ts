/** Who owns a socket (R-G7): questions and answers of this node with everything around them. */
import type { NodeConfig } from '../../config/schema.ts'
import type { MachineState } from '../../control/cluster-types.ts'
import { type DecodedFrame, encodeOwned, encodeWhoOwns } from '../../gossip/frames.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import type { Directory } from '../dataplane/directory.ts'
import { addressEquals, KEY_PORTS, KEY_PROTOCOL, KEY_VIP } from '../dataplane/flow-key.ts'
import type { HealthSide } from '../health/health-side.ts'
import { inTime } from '../health/slices.ts'
import type { PacketSide } from '../packet-side.ts'
import { OwnerAnswers } from './answers.ts'
import { type HostsToAsk, hostsToAsk } from './askable.ts'
import { FormerHosts } from './former-hosts.ts'
import { MappedLook } from './mapped-look.ts'
import { OwnerQuestions } from './questions.ts'
import { OwnSockets } from './sockets.ts'

export interface OwnersParts {
  readonly links: PeerLinks
  readonly packets: Pick<PacketSide, 'config' | 'directory' | 'dataplane'>
  readonly health: Pick<HealthSide, 'apps'>
  machine(name: string): MachineState
}

const serviceOf = ({ services }: Directory, key: Uint32Array): string | undefined =>
  services.find(
    ({ vip, port, protocol }) =>
      port === (key[KEY_PORTS]! & 0xffff) &&
      protocol === key[KEY_PROTOCOL] &&
      addressEquals(vip, 0, key, KEY_VIP),
  )?.name

export class OwnersSide {
  readonly questions: OwnerQuestions
  readonly #parts: OwnersParts
  readonly #answers: OwnerAnswers
  readonly #sockets: OwnSockets
  readonly #mapped: MappedLook
  readonly #former = new FormerHosts()
  readonly #sinceMs = performance.now()

  constructor(parts: OwnersParts) {
    this.#parts = parts
    const { links, packets } = parts
    const nowMs = (): number => performance.now()
    this.#mapped = new MappedLook(words => packets.dataplane.mapped(words), inTime)
    this.#sockets = new OwnSockets({
      isVip: (key, at) => packets.directory.services.some(({ vip }) => addressEquals(vip, 0, key, at)),
      namespaces: key => {
        const name = serviceOf(packets.directory, key)
        return parts.health.apps?.namespacesOf(service => service.name === name) ?? []
      },
      mapped: keys => this.#mapped.mapped(keys),
    })
    this.#answers = new OwnerAnswers({
      nowMs,
      soon: run => setImmediate(run),
      look: keys => this.#sockets.owned(keys),
      send: (unit, id, owned) => links.send(unit, encodeOwned(id, owned)),
    })
    this.questions = new OwnerQuestions({
      nowMs,
      later: inTime,
      hosts: service => this.#hosts(service),
      ask: (host, id, keys) => this.#ask(host, id, keys),
    })
    this.follow()
    links.onFrame((peer, frame) => this.#take(peer, frame))
  }

  get #config(): NodeConfig {
    return this.#parts.packets.config
  }

  /** For shunt status. */
  counted(): Record<string, number> {
    const { questions } = this
    return Object.fromEntries([
      ...Object.entries(questions.counters).map(([name, value]) => [`owners_${name}`, value]),
      ...Object.entries(this.#answers.counters).map(([name, value]) => [`owners_here_${name}`, value]),
    ])
  }

  /** The cluster has changed, and the packets follow it already. */
  follow(): void {
    this.#former.follow(this.#config)
  }

  stop(): void {
    this.questions.stop()
    this.#answers.stop()
    this.#mapped.stop()
    this.#sockets.close()
  }

  /** Those that have it, had it, or leave: whatever they are told to do now, they may have connections of it. */
  #hosts(service: string): HostsToAsk {
    const { config, directory } = this.#parts.packets
    const could = this.#former.of(service)
    for (const { name, leaving } of directory.hosts) if (leaving) could.add(name)
    return hostsToAsk(could, {
      self: config.node.name,
      peers: this.#parts.links.states(),
      machine: name => this.#parts.machine(name),
      upMs: performance.now() - this.#sinceMs,
      patienceMs: config.timeouts.unattended,
    })
  }

  #ask(host: string, id: number, keys: readonly Uint32Array[]): boolean {
    if (host !== this.#config.node.name) return this.#parts.links.send(host, encodeWhoOwns(id, keys))
    this.#answers.own(keys, owned => {
      if (owned === null) this.questions.silent(host, id)
      else this.questions.answered(host, id, owned)
    })
    return true
  }

  #take(peer: string, frame: DecodedFrame): void {
    if (frame.type === 'who-owns' && this.#config.roles.includes('host'))
      this.#answers.asked(peer, frame.id, frame.keys)
    else if (frame.type === 'owned') this.questions.answered(peer, frame.id, frame.owned)
  }
}
