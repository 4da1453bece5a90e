/** Lines to try in a lab that has just been built. Pure. */
import type { LabService } from './options.ts'
import { DEFAULT_OPTIONS } from './options.ts'
import type { PlacePlan } from './topology.ts'

export interface HintedLab {
  readonly name: string
  readonly nodes: readonly PlacePlan[]
  readonly hosts: readonly PlacePlan[]
  readonly services: readonly LabService[]
}

/** ` --name big`, or nothing for the usual name. */
export const nameOption = (lab: string): string => (lab === DEFAULT_OPTIONS.name ? '' : ` --name ${lab}`)

/** Enough to see how it goes on. */
const MAX_JOINS = 8

const facts = ({ name, roles, tunnel, address6, tunnel6 }: PlacePlan): string =>
  [
    `--name ${name} --roles ${roles.join(',')}`,
    ...Object.entries({ tunnel, address6, tunnel6 }).flatMap(([flag, ip]) =>
      ip === null ? [] : [`--${flag} ${ip}`],
    ),
  ].join(' ')

/** From a bare lab to a cluster that answers: init, token, join, apply. */
export const bareHints = (lab: HintedLab): string[] => {
  const option = nameOption(lab.name)
  const inside = (node: PlacePlan): string => `shunt lab exec${option} ${node.name} -- shunt`
  const [first, ...others] = lab.nodes as [PlacePlan, ...PlacePlan[]]
  // JSON is YAML, and fits in a line.
  const document = JSON.stringify({
    version: 1,
    pools: [{ name: 'web', hosts: lab.hosts.map(({ name }) => ({ name })) }],
    services: lab.services.map(service => ({ ...service, pool: 'web' })),
  })
  const shown = others.slice(0, MAX_JOINS)
  const left = others.slice(MAX_JOINS).map(node => node.name)
  return [
    `${inside(first)} init ${facts(first)}`,
    `shunt lab start${option} ${first.name}`,
    ...(others.length === 0
      ? []
      : [
          `TOKEN=$(${inside(first)} token --uses ${others.length})`,
          ...shown.map(node => `${inside(node)} join $TOKEN ${facts(node)}`),
          ...(left.length === 0 ? [] : [`# and so on: ${left.join(', ')}`]),
          `shunt lab start${option} ${others.map(node => node.name).join(' ')}`,
        ]),
    `echo '${document}' | ${inside(first)} apply -f - --yes`,
  ]
}
