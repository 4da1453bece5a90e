/** Checks of services and their virtual IPs, by what the agent says. */
import { count } from '../../cli/format.ts'
import { type Check, type Finding, fail, pass, skip, warn } from '../facts.ts'
import { from, type WithAgent, withAgent } from './with-agent.ts'

const services: WithAgent = ({ vips }) =>
  from(vips, ({ vips: rows }) => {
    if (rows.length === 0) return [skip('There are no services yet (shunt apply brings them).')]
    const bad = rows.flatMap((row): Finding[] => {
      if (row.live === 0) return [fail(`Service ${row.service} has no live host.`, 'shunt hosts; start one')]
      if (row.live < row.hosts)
        return [warn(`Service ${row.service} has ${row.live} of ${row.hosts} hosts.`, 'shunt hosts')]
      return []
    })
    return bad.length > 0 ? bad : [pass(`${count(rows.length, 'service')}, all with all their hosts.`)]
  })

/** A host holds its services' virtual IPs on lo; any other node must not hold them, or its stack would answer clients. */
const vipAddresses: WithAgent = ({ status, hosts, vips }, { addresses }) =>
  from(vips, ({ vips: rows }) =>
    from(hosts, ({ hosts: all }) =>
      from(addresses, held => {
        const mine = new Set(all.find(host => host.name === status.node)?.services ?? [])
        const wanted = new Set(rows.filter(row => mine.has(row.service)).map(row => row.vip))
        const isHost = status.roles.includes('host')
        const bad = [...new Set(rows.map(row => row.vip))].flatMap((vip): Finding[] => {
          const place = held.find(entry => entry.address === vip)
          if (wanted.has(vip) && place === undefined)
            return [
              fail(
                `Virtual IP ${vip} is not on lo, so this host refuses its clients.`,
                `restart the agent, or ip address add ${vip}/32 dev lo`,
              ),
            ]
          if (place !== undefined && !wanted.has(vip) && !isHost)
            return [
              fail(
                `Virtual IP ${vip} is an address of ${place.link} here, so this machine answers its clients itself.`,
                `ip address del ${vip}/${place.prefixLength} dev ${place.link}`,
              ),
            ]
          if (place !== undefined && place.link !== 'lo')
            return [
              fail(
                `Virtual IP ${vip} is an address of ${place.link}, so this machine claims it on the wire.`,
                `ip address del ${vip}/${place.prefixLength} dev ${place.link}`,
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

export const SERVICE_CHECKS: readonly Check[] = [
  { id: 'services', run: withAgent(services) },
  { id: 'virtual-ips', run: withAgent(vipAddresses) },
]
