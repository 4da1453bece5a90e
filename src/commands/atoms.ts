import { Args } from '@oclif/core'
import { atomRows, lookUp, noMember, putTogether } from '../cli/atom-rows.ts'
import { EXIT } from '../cli/exit-codes.ts'
import { FLOW_FORMS, parseFlowTuple } from '../cli/flow-tuple.ts'
import { bytes, count, duration, percent } from '../cli/format.ts'
import { noService } from '../cli/no-service.ts'
import { NounCommand, type NounFlags, nounFlags } from '../cli/noun-command.ts'
import { json, localEnvelope, note, print, warn } from '../cli/output.ts'
import { pathAt } from '../cli/path-at.ts'
import { pairs, table } from '../cli/table.ts'
import { settledText } from '../control/atom-copies.ts'
import type { AtomsData, Envelope, NodesData, VipsData } from '../control/types.ts'

export default class Atoms extends NounCommand<AtomsData> {
  static override summary =
    'Show what forwarders and classifiers remember of connections for each other, or look one connection up.'
  static override description =
    `A forwarder that carries a connection owns its atom: which host the connection belongs to. When it ends without a word, the member nearest to the atom owns it. Other forwarders and classifiers, the members, keep copies, as many as the
service asks for (sessions.copies), so that any of them can go on with the connection when its packets come there instead.

settled is yes when every copy that services ask for is where it should be. It is no while copies are on their way there, and with fewer other members than copies are wanted: then a loss of further nodes may cost connections
that the document means to keep, and it says how many copies there are and what is missing. table is how full the table of atoms is, and how many had to go for want of room; memory is what a full one takes. own are the atoms that this node answers for, copies those
that it keeps for others, cached what it has looked up lately, ended those of connections that are over, kept a minute for late packets; to be checked are atoms of lost members whose hosts are still to be asked.

MEMBER is a forwarder or classifier. STATE is this node, linked (it can be asked now), leaving (it hands over what it has) or away. INCARNATION is raised at each start with an empty table. SERVICE is a service, WANTED its copies of each connection besides the
owner's (a number, full for all members, none for no atoms), POSSIBLE how many the other members can keep, OWN the atoms of it that this node answers for, COPIES those of others kept here. COUNTER and VALUE are what has happened since the agent started, where it is not 0.

With a connection, each member is asked what it has of it, a row each: HAS is own, copy, cached, ended, nothing, or no answer; HOST is the connection's host, OWNER the member that answers for it, GENERATION its version (the highest is in force), AGE how old that version is, and IDLE how
long ago it was last in use there, or came there. A connection has its atom, and copies, only some moments after its begin: until then others know nothing of it.
The exit code is 3 when none has anything, when what they have does not agree, and when a node is asked that is neither forwarder nor classifier.`
  static override examples = [
    '<%= config.bin %> atoms',
    '<%= config.bin %> atoms 203.0.113.5:40000 198.51.100.10:80',
    '<%= config.bin %> atoms 203.0.113.5:5353 198.51.100.10:53/udp',
  ]
  static override strict = false
  static override args = {
    connection: Args.string({ description: 'CLIENT:PORT VIP:PORT[/PROTOCOL], or a pasted line.' }),
  }
  static override flags = nounFlags

  override async run(): Promise<void> {
    const { flags, argv } = await this.parse(Atoms)
    if (argv.length === 0) await super.run()
    else await this.#lookUp(argv.map(String), flags)
  }

  protected override path(): string {
    return '/v1/atoms'
  }

  protected override async nothing(
    { incarnation }: AtomsData,
    { node }: NounFlags,
    ask: (path: string) => Promise<unknown>,
  ): Promise<string | undefined> {
    return incarnation === null ? noMember(node, (await ask('/v1/nodes')) as NodesData) : undefined
  }

  protected override warnings(data: AtomsData): string[] {
    const text = settledText(data)
    return text.startsWith('no, ') ? [text.slice(4)] : []
  }

  protected override render(data: AtomsData, { node }: NounFlags): string {
    if (data.incarnation === null) return `${noMember(node)}\n`
    const { places, used, capacity, services, members } = data
    const facts = pairs([
      ['settled', settledText(data)],
      ['table', `${used} of ${capacity} (${percent(used, capacity)}), ${data.evicted} evicted`],
      ['memory', `${bytes(data.bytes)} when full`],
      ['own', places.own],
      ['copies', places.copies],
      ['cached', places.cached],
      ['ended', places.ended],
      ...(data.unsure === 0 ? [] : [['to be checked', data.unsure] as const]),
    ])
    const who = table(
      [
        { head: 'MEMBER', cell: m => m.name },
        {
          head: 'STATE',
          cell: m => (m.self ? 'this node' : m.leaving ? 'leaving' : m.linked ? 'linked' : 'away'),
        },
        { head: 'INCARNATION', cell: m => m.incarnation, right: true },
      ],
      members,
    )
    const by = table(
      [
        { head: 'SERVICE', cell: s => s.service },
        { head: 'WANTED', cell: s => s.wanted, right: true },
        { head: 'POSSIBLE', cell: s => s.possible, right: true },
        { head: 'OWN', cell: s => s.own, right: true },
        { head: 'COPIES', cell: s => s.copies, right: true },
      ],
      services,
    )
    const counters = table(
      [
        { head: 'COUNTER', cell: ([name]) => name },
        { head: 'VALUE', cell: ([, value]) => value, right: true },
      ],
      Object.entries(data.counters)
        .filter(([, value]) => value !== 0)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    )
    return [facts, who, by, counters].join('\n')
  }

  async #lookUp(words: readonly string[], flags: NounFlags): Promise<void> {
    const tuple = parseFlowTuple(
      words.map(word => word.replace(/\/(tcp|udp)$/i, ' $1')),
      FLOW_FORMS.atoms,
    )
    const { get } = await import('../control/client.ts')
    const path = `/v1/atoms?${new URLSearchParams({ ...tuple })}`
    const ask = async (node: string | undefined): Promise<Envelope<AtomsData>> =>
      (await get(flags.socket, pathAt(path, node))) as Envelope<AtomsData>
    const first = await ask(flags.node)
    if (first.data.incarnation === null) {
      const nodes = (await get(flags.socket, pathAt('/v1/nodes', flags.node))).data as NodesData
      const why = noMember(flags.node, nodes)
      if (flags.json) {
        const nobody = { ...putTogether([]), troubles: [why] }
        print(json(localEnvelope('shunt.atom/1', { ...tuple, ...nobody }, first.node), true))
      }
      warn(why)
      process.exitCode = EXIT.DEGRADED
      return
    }
    const found = await lookUp(first.node, first.data, ask)
    if (found.members.every(({ atom }) => atom === null)) {
      const vips = (await get(flags.socket, pathAt('/v1/vips', flags.node))).data as VipsData
      const missing = noService(tuple, vips)
      if (missing !== undefined) found.troubles.push(missing)
    }
    if (flags.json) print(json(localEnvelope('shunt.atom/1', { ...tuple, ...found }, first.node), true))
    else {
      print(
        `${tuple.protocol} ${tuple.client} -> ${tuple.vip}\n${table(
          [
            { head: 'MEMBER', cell: row => row.member },
            { head: 'HAS', cell: row => row.has },
            { head: 'HOST', cell: row => row.atom?.host ?? null },
            { head: 'OWNER', cell: row => row.atom?.owner ?? null },
            { head: 'GENERATION', cell: row => row.atom?.generation ?? null, right: true },
            { head: 'AGE', cell: row => duration(row.atom?.ageMs ?? null), right: true },
            { head: 'IDLE', cell: row => duration(row.atom?.idleMs ?? null), right: true },
          ],
          atomRows(found),
        )}`,
      )
      if (found.host !== null)
        note(
          `its host is ${found.host}${found.ended ? ', it has ended' : ''}; ${count(found.copies, 'copy', 'copies')} besides the owner's, ${found.wanted} wanted`,
        )
    }
    for (const trouble of found.troubles) warn(trouble)
    if (found.troubles.length > 0) process.exitCode = EXIT.DEGRADED
  }
}
