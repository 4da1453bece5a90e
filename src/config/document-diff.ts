/** What one cluster document changes in another: by what it means, not by how it is written. Pure. */
import { addressPort } from '../address-port.ts'
import type { ClusterDocument } from './document.ts'
import { DEFAULT_COPIES } from './fields.ts'
import { choice, groups, health, overload, slowStartOf, whenFailingOf } from './health-fields.ts'

export interface Change {
  action: 'add' | 'remove' | 'change'
  kind: 'service' | 'pool' | 'host' | 'timeout' | 'setting'
  /** `web`; of a host `pool/host`; of a setting `groups.size`. */
  name: string
  /** `port 80 -> 8080`, or what is added or removed. */
  text: string
}

type Service = ClusterDocument['services'][number]
type Pool = ClusterDocument['pools'][number]

const EMPTY: ClusterDocument = { version: 1, pools: [], services: [], timeouts: {} }

/** Names of both sides, those of `before` first. */
const namesOf = (before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): string[] => [
  ...new Set([...before.keys(), ...after.keys()]),
]

const compare = <T>(
  kind: Change['kind'],
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  describe: (value: T) => string,
  difference: (from: T, to: T) => string,
  prefix = '',
): Change[] =>
  namesOf(before, after).flatMap((name): Change[] => {
    const from = before.get(name)
    const to = after.get(name)
    if (from === undefined && to !== undefined)
      return [{ action: 'add', kind, name: prefix + name, text: describe(to) }]
    if (to === undefined && from !== undefined)
      return [{ action: 'remove', kind, name: prefix + name, text: describe(from) }]
    const text = from === undefined || to === undefined ? '' : difference(from, to)
    return text === '' ? [] : [{ action: 'change', kind, name: prefix + name, text }]
  })

const byName = <T extends { name: string }>(list: readonly T[]): Map<string, T> =>
  new Map(list.map(each => [each.name, each]))

const endpointOf = (s: Service): string => `${addressPort(s.vip, s.port)}/${s.protocol}`

/** Where the application itself listens. */
const ownOf = ({ endpoint, port }: Service): string =>
  endpoint === undefined ? '-' : `${endpoint.address ?? 'own address'}:${endpoint.port ?? port}`

/** What is left out means its default, so only what has another meaning is a change. */
const valuesOf = (sections: Record<string, object>): Map<string, string> =>
  new Map(
    Object.entries(sections).flatMap(([section, values]) =>
      Object.entries(values)
        .filter(([, value]) => value !== undefined)
        .map(([key, value]): [string, string] => [
          `${section}.${key}`,
          typeof value === 'object' ? JSON.stringify(value) : String(value),
        ]),
    ),
  )

const checksOf = (service: Service): Map<string, string> => {
  const values = valuesOf({
    health: service.health ?? health.parse({}),
    choice: service.choice ?? choice.parse({}),
    affinity: service.affinity ?? {},
    sessions: { copies: service.sessions?.copies ?? DEFAULT_COPIES[service.protocol] },
  })
  return values.set('slowStart', String(slowStartOf(service))).set('whenFailing', whenFailingOf(service))
}

const valueDifferences = (from: ReadonlyMap<string, string>, to: ReadonlyMap<string, string>): string[] =>
  namesOf(from, to)
    .sort()
    .filter(key => from.get(key) !== to.get(key))
    .map(key => `${key} ${from.get(key) ?? '-'} -> ${to.get(key) ?? '-'}`)

const serviceDifference = (from: Service, to: Service): string =>
  [
    endpointOf(from) === endpointOf(to) ? '' : `${endpointOf(from)} -> ${endpointOf(to)}`,
    from.pool === to.pool ? '' : `pool ${from.pool} -> ${to.pool}`,
    ownOf(from) === ownOf(to) ? '' : `endpoint ${ownOf(from)} -> ${ownOf(to)}`,
    ...valueDifferences(checksOf(from), checksOf(to)),
  ]
    .filter(Boolean)
    .join(', ')

const deliveryOf = ({ delivery = 'tunnel' }: Pool): string => delivery

const hostsOf = (pool: Pool | undefined): Map<string, Pool['hosts'][number]> => byName(pool?.hosts ?? [])

const poolChanges = (before: ReadonlyMap<string, Pool>, after: ReadonlyMap<string, Pool>): Change[] =>
  namesOf(before, after).flatMap(name => [
    ...compare(
      'pool',
      new Map([...before].filter(([n]) => n === name)),
      new Map([...after].filter(([n]) => n === name)),
      pool => (deliveryOf(pool) === 'tunnel' ? '' : `delivery ${deliveryOf(pool)}`),
      (from, to) =>
        deliveryOf(from) === deliveryOf(to) ? '' : `delivery ${deliveryOf(from)} -> ${deliveryOf(to)}`,
    ),
    ...compare(
      'host',
      hostsOf(before.get(name)),
      hostsOf(after.get(name)),
      ({ capacity, address }) => `capacity ${capacity}${address === undefined ? '' : `, address ${address}`}`,
      (from, to) =>
        [
          from.capacity === to.capacity ? '' : `capacity ${from.capacity} -> ${to.capacity}`,
          from.address === to.address ? '' : `address ${from.address ?? '-'} -> ${to.address ?? '-'}`,
        ]
          .filter(Boolean)
          .join(', '),
      `${name}/`,
    ),
  ])

const timeoutsOf = (doc: ClusterDocument): Map<string, number> =>
  new Map(Object.entries(doc.timeouts).filter((entry): entry is [string, number] => entry[1] !== undefined))

const settingsOf = (doc: ClusterDocument): Map<string, string> =>
  valuesOf({ groups: doc.groups ?? groups.parse({}), overload: doc.overload ?? overload.parse({}) })

/** Services first, then pools with their hosts, then timeouts and other settings. `null`: there was no document yet. */
export const diffDocuments = (before: ClusterDocument | null, after: ClusterDocument): Change[] => {
  const from = before ?? EMPTY
  return [
    ...compare(
      'service',
      byName(from.services),
      byName(after.services),
      s => `${endpointOf(s)} pool ${s.pool}`,
      serviceDifference,
    ),
    ...poolChanges(byName(from.pools), byName(after.pools)),
    ...compare(
      'timeout',
      timeoutsOf(from),
      timeoutsOf(after),
      ms => `${ms} ms`,
      (a, b) => (a === b ? '' : `${a} -> ${b} ms`),
    ),
    ...compare(
      'setting',
      settingsOf(from),
      settingsOf(after),
      value => value,
      (a, b) => (a === b ? '' : `${a} -> ${b}`),
    ),
  ]
}

const SIGNS = { add: '+', remove: '-', change: '~' } as const

/** A line a change: `~ service web: 10.99.0.1:80/tcp -> 10.99.0.1:8080/tcp`; '' without changes. */
export const renderChanges = (changes: readonly Change[]): string =>
  changes
    .map(
      ({ action, kind, name, text }) => `${SIGNS[action]} ${kind} ${name}${text === '' ? '' : `: ${text}`}\n`,
    )
    .join('')
