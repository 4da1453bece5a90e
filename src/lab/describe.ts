/** What `shunt lab status` shows. */
import type { Role } from '../config/schema.ts'
import { nameOption } from './hints.ts'
import type { Lab } from './lab.ts'
import type { LabService } from './options.ts'
import { isAlive } from './processes.ts'
import type { PlaceKind } from './topology.ts'

export type AgentState = Awaited<ReturnType<Lab['agentState']>>

export interface PlaceStatus {
  name: string
  kind: PlaceKind
  roles: Role[]
  netns: string
  address: string | null
  tunnel: string | null
  /** The same by IPv6; null where the lab has none. */
  address6: string | null
  tunnel6: string | null
  /** Of a host, 0 to 99 (R-B1). */
  capacity: number | null
  /** `null` where no agent runs. */
  pid: number | null
  agent: AgentState
  /** Whether nginx runs; `null` where there is none. */
  web: boolean | null
}

export interface LabStatus {
  name: string
  createdAt: string
  /** Without them nothing answers at a virtual IP. */
  agents: boolean
  services: LabService[]
  places: PlaceStatus[]
}

export const describeLab = async (lab: Lab): Promise<LabStatus> => ({
  name: lab.name,
  createdAt: lab.createdAt,
  agents: lab.hasAgents,
  services: lab.services,
  places: await Promise.all(
    lab.places.map(async (place): Promise<PlaceStatus> => {
      const agent = lab.process(place.name)
      const web = lab.process(place.name, 'web')
      return {
        name: place.name,
        kind: place.kind,
        roles: place.roles,
        netns: place.netns,
        address: place.address,
        tunnel: place.tunnel,
        address6: place.address6,
        tunnel6: place.tunnel6,
        capacity: place.capacity,
        pid: agent !== null && isAlive(agent) ? agent.pid : null,
        agent: await lab.agentState(place.name),
        web: web === null ? null : isAlive(web),
      }
    }),
  ),
})

/** What is not as `up` left it: a sentence each. */
export const labTroubles = (status: LabStatus): string[] =>
  status.places.flatMap(p => [
    ...(status.agents && p.kind === 'node' && p.agent !== 'running'
      ? [
          p.agent === 'none'
            ? `${p.name} has no agent yet: shunt lab start${nameOption(status.name)} ${p.name}, once shunt init or shunt join has been there`
            : `the agent of ${p.name} is ${p.agent}${p.agent === 'stopped' ? `: shunt lab start${nameOption(status.name)} ${p.name} starts the next one` : ''}`,
        ]
      : []),
    ...(p.web === false ? [`the web server of ${p.name} has ended`] : []),
  ])
