import { randomBytes } from 'node:crypto'
import { Args } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { askLosses } from '../cli/losses.ts'
import { memberNamed } from '../cli/members.ts'
import {
  askNodes,
  askOwnCluster,
  confirm,
  loadOperator,
  operatorFlags,
  sendStatements,
} from '../cli/operator.ts'
import { json, localEnvelope, note, print, warn } from '../cli/output.ts'

/** Long enough for the others to take the new secret up; the evicted one has the old until then. */
const GRACE_MS = 1000

export default class Evict extends BaseCommand {
  static override summary = 'Take another node out of the cluster, for ever, and change the cluster secret.'
  static override description =
    `The others close their links to it at once, and the secret that it knows ends within a second. Needs nothing of the
node itself. A node that was evicted already is success. Its machine can come back only with a new identity and a token. Nodes that joined with tokens redeemed at it stay members: if it was taken
over, evict those that you do not know as well.`
  static override examples = ['<%= config.bin %> evict h3', '<%= config.bin %> evict h3 --yes']
  static override args = {
    node: Args.string({ description: 'Name or peer id of the node.', required: true }),
  }
  static override flags = operatorFlags

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Evict)
    const operator = await loadOperator(flags)
    const cluster = await askOwnCluster(flags.socket, operator)
    const nodes = await askNodes(flags.socket)
    const conflict = cluster.conflicts.find(c => c.id === args.node || c.name === args.node)
    const present = nodes.nodes.some(n => n.id === args.node || n.name === args.node)
    const gone = cluster.departed.find(d => d.id === args.node || d.name === args.node)
    const done = (id: string, name: string, changed: boolean): void => {
      if (flags.json)
        print(json(localEnvelope('shunt.evict/1', { node: name, id, changed }, cluster.node.name), true))
      else print(changed ? `${name} is evicted` : `${name} is no member any more`)
    }
    if (!present && conflict === undefined && gone !== undefined) {
      if (gone.reason === 'left')
        note(`it left by itself, and knows the secret of then: shunt keys rotate ends that`)
      return done(gone.id, gone.name, false)
    }
    const target = present ? memberNamed(nodes, args.node) : (conflict ?? memberNamed(nodes, args.node))
    const self = target.id === cluster.node.id ? ' It is the node whose agent you ask here.' : ''
    const lost = await askLosses(flags.socket, nodes.nodes, target.id, [])
    await confirm(
      `${lost === undefined ? '' : `${lost} `}Evict ${target.name} (${target.id}) from the cluster for ever?${self}`,
      flags,
    )
    if (flags.yes && lost !== undefined) warn(lost)
    const atMs = Date.now()
    await sendStatements(
      flags.socket,
      [
        { kind: 'remove', id: target.id, reason: 'evicted', atMs },
        {
          kind: 'secret',
          number: cluster.secretNumber + 1,
          secret: randomBytes(32).toString('base64'),
          graceMs: GRACE_MS,
          excludes: [target.id],
          atMs,
        },
      ],
      operator,
    )
    done(target.id, target.name, true)
    const away = nodes.nodes.filter(n => n.agent !== 'alive' && n.id !== target.id && !n.self)
    if (away.length > 0)
      note(
        `${away.map(n => n.name).join(', ')} did not hear of the new secret: when back, run shunt join TOKEN there, with a new token`,
      )
  }
}
