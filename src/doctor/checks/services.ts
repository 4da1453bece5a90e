/** Checks of services and their virtual IPs, by what the agent says. */
import { missedOf, missedRemedy, missedText, orderedAbsentOf, orderedAbsentText } from '../../cli/absent.ts'
import { count } from '../../cli/format.ts'
import { hasNoClassifier, NO_CLASSIFIER, unattended, unattendedText } from '../../cli/new-connections.ts'
import { allOverloadedText, failOpenText, hasNone, noneText } from '../../cli/ready.ts'
import { addressFault } from '../../config/address-fault.ts'
import { parseDocument, servicesOf } from '../../config/document.ts'
import { ipv6Lacks, isIpv6Vip } from '../../config/ipv6-needs.ts'
import type { ConfigData, HealthData } from '../../control/types.ts'
import {
  type AddressFact,
  type Check,
  type Finding,
  fail,
  type Known,
  pass,
  skip,
  valueIn,
  warn,
} from '../facts.ts'
import { from, type WithAgent, withAgent } from './with-agent.ts'

/** How many hosts the document in force names for each service, members or not. */
const namedHosts = (config: Known<ConfigData>): Map<string, number> => {
  const document = valueIn(config)
  if (document === null || document.revision === 0) return new Map()
  try {
    const parsed = parseDocument(document.text, 'document')
    return new Map(servicesOf(parsed).map(({ name, hosts }) => [name, hosts.length]))
  } catch {
    return new Map() // of a newer version
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

const services: WithAgent = ({ vips, config }) =>
  from(vips, ({ vips: rows }) => {
    const named = namedHosts(config)
    if (rows.length === 0) return [skip('There are no services yet (shunt apply brings them).')]
    const away = unattended(rows).map(row =>
      fail(`${capital(unattendedText(row))}.`, `start it, or shunt failover ${row.vip}`),
    )
    if (hasNoClassifier(rows))
      away.push(fail(`${capital(NO_CLASSIFIER)}.`, 'shunt nodes; start one, or give the role (shunt roles)'))
    const bad = rows.flatMap((row): Finding[] => {
      if (row.live === 0) return [fail(`Service ${row.service} has no live host.`, 'shunt hosts; start one')]
      if (hasNone(row))
        return [fail(`Service ${row.service}: ${noneText(row.service)}.`, 'shunt hosts -o wide says why')]
      if (row.fallback === 'failing')
        return [fail(`Service ${row.service}: ${failOpenText(row.service)}.`, 'shunt hosts -o wide')]
      const hosts = Math.max(row.hosts, named.get(row.service) ?? 0)
      if (hosts > row.hosts)
        return [
          warn(
            `Service ${row.service} has ${row.live} of the ${hosts} hosts that the cluster document names.`,
            'shunt nodes; the others are no members or lack the role host: let them join, give it (shunt roles), or shunt apply without them',
          ),
        ]
      if (row.live < row.hosts)
        return [warn(`Service ${row.service} has ${row.live} of ${row.hosts} hosts.`, 'shunt hosts')]
      return []
    })
    const all = [...away, ...bad]
    return all.length > 0 ? all : [pass(`${count(rows.length, 'service')}, all with all their hosts.`)]
  })

/** Planned, and so nothing to warn of. */
const orderedText = (data: HealthData): string =>
  orderedAbsentOf(data)
    .map(row => `; ${orderedAbsentText(row)}`)
    .join('')

const applications: WithAgent = ({ health }) =>
  from(health, data => {
    const rows = data.cache?.flatMap(table => table.rows) ?? data.own?.rows ?? []
    const failing = rows
      .filter(row => row.health === 'failing')
      .map(({ service, vip, host }) =>
        warn(
          `The application of ${service ?? vip} on ${host} is failing.`,
          `look at it there; shunt events --node ${host} says what its check found`,
        ),
      )
    const missed = missedOf(data).map(row => warn(`${capital(missedText(row))}.`, missedRemedy(row)))
    const overloaded = (data.shares ?? [])
      .filter(({ overload }) => overload)
      .map(({ service }) =>
        warn(
          `${capital(allOverloadedText(service))}.`,
          `give ${service} more hosts, or find what keeps them busy`,
        ),
      )
    const bad = [...failing, ...missed, ...overloaded]
    if (bad.length > 0) return bad
    return data.cache === null && data.own === null
      ? [skip('This node knows no applications: it is neither a host nor a load balancing unit.')]
      : [pass(`Every application that is known here listens, and none fails${orderedText(data)}.`)]
  })

/** An address with a network around it is one by which the machine itself is reached: nobody is told to delete it. */
const isOwn = ({ address, prefixLength }: AddressFact): boolean =>
  prefixLength !== wholeOf(address) || addressFault(address) !== undefined
const wholeOf = (address: string): number => (isIpv6Vip(address) ? 128 : 32)

const wayOut = (held: readonly AddressFact[], { link, address }: AddressFact): string =>
  held.some(entry => entry.address === address && isOwn(entry))
    ? `it is an address of this machine's own: give the service another virtual IP`
    : `ip address del ${address}/${wholeOf(address)} dev ${link}`

/** A host holds its services' virtual IPs on lo; any other node must not hold them, or its stack would answer clients. */
const vipAddresses: WithAgent = ({ status, hosts, vips }, { addresses }) =>
  from(vips, ({ vips: rows }) =>
    from(hosts, ({ hosts: all }) =>
      from(addresses, held => {
        const mine = new Set(all.find(host => host.name === status.node)?.services ?? [])
        const wanted = new Set(rows.filter(row => mine.has(row.service)).map(row => row.vip))
        const isHost = status.roles.includes('host')
        const announced = new Set(
          rows.filter(row => row.announce === 'arp' && row.holder === status.node).map(row => row.vip),
        )
        const bad = [...new Set(rows.map(row => row.vip))].flatMap((vip): Finding[] => {
          // The holder's kernel answers ARP by an address on its uplinks; the data plane takes the packets.
          const isLease = (entry: AddressFact): boolean =>
            announced.has(vip) && entry.link !== 'lo' && !isOwn(entry)
          const place = held.find(entry => entry.address === vip && !isLease(entry))
          if (wanted.has(vip) && place === undefined)
            return [
              fail(
                `Virtual IP ${vip} is not on lo, so this host refuses its clients.`,
                `restart the agent, or ip address add ${vip}/${wholeOf(vip)} dev lo`,
              ),
            ]
          if (place !== undefined && !wanted.has(vip) && !isHost)
            return [
              fail(
                `Virtual IP ${vip} is an address of ${place.link} here, so this machine answers its clients itself.`,
                wayOut(held, place),
              ),
            ]
          if (place !== undefined && place.link !== 'lo')
            return [
              fail(
                `Virtual IP ${vip} is an address of ${place.link}, so this machine claims it on the wire.`,
                wayOut(held, place),
              ),
            ]
          return []
        })
        if (bad.length > 0) return bad
        return rows.length === 0
          ? [skip('There are no virtual IPs yet.')]
          : [pass('Virtual IPs are where they belong.')]
      }),
    ),
  )

/** A node that joined after the document, or whose address was not asked for then: IPv6 services go on without it. */
const ipv6: WithAgent = ({ hosts, nodes, vips }) =>
  from(vips, ({ vips: rows }) =>
    from(hosts, ({ hosts: all }) =>
      from(nodes, ({ nodes: members }) => {
        const six = rows.filter(({ vip }) => isIpv6Vip(vip))
        const bad = six.flatMap(({ service, vip }) => {
          const pool = all.filter(host => host.services.includes(service)).map(({ name }) => name)
          return ipv6Lacks(vip, pool, members).map(({ name, role, field }) =>
            warn(
              `${name} has no IPv6 ${field === 'tunnel6' ? 'tunnel address' : 'address in the cluster'}, so as a ${role} it carries nothing of ${service}.`,
              field === 'tunnel6'
                ? 'let it leave and join again with --address6 and --tunnel6 (in a static cluster: tunnel6 in the node files)'
                : 'let it leave and join again with --address6 (in a static cluster: cluster6 and address6 in the node files), or take it out of the pool',
            ),
          )
        })
        if (bad.length > 0) return bad
        return six.length === 0
          ? [skip('There are no IPv6 services.')]
          : [pass('Every host and forwarder of IPv6 services has IPv6 addresses.')]
      }),
    ),
  )

export const SERVICE_CHECKS: readonly Check[] = [
  { id: 'services', run: withAgent(services) },
  { id: 'applications', run: withAgent(applications) },
  { id: 'virtual-ips', run: withAgent(vipAddresses) },
  { id: 'ipv6', run: withAgent(ipv6) },
]
