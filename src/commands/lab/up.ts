import { Flags } from '@oclif/core'
import { BaseCommand } from '../../cli/base-command.ts'
import { labNameFlag } from '../../cli/lab-flags.ts'
import { json, localEnvelope, note, print } from '../../cli/output.ts'
import { ANNOUNCES } from '../../config/fields.ts'
import { ShuntError } from '../../errors.ts'
import { bareHints, nameOption } from '../../lab/hints.ts'
import { COMBINE, DATAPLANES, DEFAULT_OPTIONS, IPV6_SERVICE, MODES } from '../../lab/options.ts'

const count = (what: string, value: number) =>
  Flags.integer({ description: what, default: value, helpValue: 'N' })

const capacitiesOf = (text: string): number[] =>
  text.split(',').map(part => {
    if (!/^\d{1,2}$/.test(part))
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `--capacities takes numbers of 0 to 99, such as 60,30,10; not "${part}"`,
      )
    return Number(part)
  })

export default class LabUp extends BaseCommand {
  static override summary = 'Start a whole cluster on this machine, in network namespaces.'
  static override description =
    `A router, a switch, clients, and nodes that run this same program; nginx answers on every host at the
virtual IP 10.99.0.1, port 80; the router sends all of 10.99.0.0/24 to the forwarders, so that a document can have
more virtual IPs. Nothing outside of the lab's own namespaces is changed. Needs root.
The lab stays until "shunt lab down"; when starting it fails or is interrupted, nothing of it is left.`
  static override examples = [
    '<%= config.bin %> lab up',
    '<%= config.bin %> lab up --name fast --dataplane xdp --combine fc --ipv6',
    '<%= config.bin %> lab up --name big --forwarders 4 --classifiers 2 --hosts 8 --capacities 50,25',
  ]
  static override flags = {
    name: labNameFlag,
    forwarders: count('Forwarders, f1 and on.', DEFAULT_OPTIONS.forwarders),
    classifiers: count('Classifiers, c1 and on; only with --combine none.', DEFAULT_OPTIONS.classifiers),
    hosts: count(
      'Hosts, h1 and on; with --combine all the number of all nodes, n1 and on.',
      DEFAULT_OPTIONS.hosts,
    ),
    clients: count('Clients, client1 and on.', DEFAULT_OPTIONS.clients),
    combine: Flags.option({
      description:
        'Roles on one node: none; fc (forwarders are the classifiers too); all (every node has every role).',
      options: COMBINE,
      default: DEFAULT_OPTIONS.combine,
    })(),
    capacities: Flags.string({
      description: 'Capacity of each host, 0 to 99, repeated when there are more hosts.',
      default: DEFAULT_OPTIONS.capacities.join(','),
      helpValue: 'N,N…',
    }),
    ipv6: Flags.boolean({
      description: `Addresses of IPv6 beside those of IPv4, and a second service at ${IPV6_SERVICE.vip}.`,
      default: false,
    }),
    dataplane: Flags.option({
      description:
        'What carries packets on all nodes (dataplane of the node file; in a bare lab what shunt init and join write); auto, the default, is nftables here, because interfaces of a lab are veths.',
      options: DATAPLANES,
      env: 'SHUNT_LAB_DATAPLANE',
    })(),
    announce: Flags.option({
      description:
        'How the router finds virtual IPs: routed (it has routes to all forwarders, ECMP) or arp (it asks, and one forwarder holds each).',
      options: ANNOUNCES,
      default: 'routed' as const,
    })(),
    mode: Flags.option({
      description:
        'managed (a cluster with an operator key and a document), static (all in the node files), or bare (no keys, no agents: to try init, token and join).',
      options: MODES,
      default: 'managed',
    })(),
    agents: Flags.boolean({ description: 'Start an agent on every node.', default: true, allowNo: true }),
    binary: Flags.string({
      description: 'Executable to run as agent, instead of this one.',
      helpValue: 'FILE',
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(LabUp)
    const capacities = capacitiesOf(flags.capacities)
    const { Lab } = await import('../../lab/lab.ts')
    const startedMs = performance.now()
    const { dataplane, ...shape } = flags
    const lab = await Lab.up({
      ...shape,
      ...(dataplane !== undefined && { dataplane }),
      capacities,
      ...(flags.ipv6 && { services: [...DEFAULT_OPTIONS.services, IPV6_SERVICE] }),
      keep: true,
      onProgress: note,
    })
    note(`lab ${lab.name} is up after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`)
    if (flags.json) {
      const { describeLab } = await import('../../lab/describe.ts')
      print(json(localEnvelope('shunt.lab/1', await describeLab(lab)), true))
      return
    }
    const name = nameOption(lab.name)
    const bare = flags.mode === 'bare' && flags.agents
    const { vip, port } = lab.services[0]!
    const target = flags.agents ? `${vip}:${port}` : `${lab.hosts[0]!.address}:80`
    const lines = [
      ...(bare ? bareHints(lab) : []),
      `shunt lab status${name}`,
      `shunt lab exec${name} ${lab.client()} -- curl -s http://${target}/`,
      ...(flags.ipv6 && flags.agents
        ? [`shunt lab exec${name} ${lab.client()} -- curl -sg http://[${IPV6_SERVICE.vip}]/`]
        : []),
      ...(flags.agents ? [`shunt lab exec${name} ${lab.forwarders[0]!.name} -- shunt flows`] : []),
      `shunt lab down${name}`,
    ]
    print(['Try', ...lines.map(line => `  ${line}`)].join('\n'))
  }
}
