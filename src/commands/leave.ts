import { BaseCommand } from '../cli/base-command.ts'
import { askLosses } from '../cli/losses.ts'
import { askCluster, askNodes, confirm, socketFlag, yesFlag } from '../cli/operator.ts'
import { json, localEnvelope, note, print, warn } from '../cli/output.ts'
import { ShuntError } from '../errors.ts'

export default class Leave extends BaseCommand {
  static override summary = 'Take this node out of its cluster, for ever.'
  static override description =
    `The agent says so to the others, lets what is in flight end, and stops. Needs no operator's key: whoever may use the control
socket (root and the group of the socket) may do it. To come back the machine joins as a new node. To take out a node that is not reachable or not trusted, use shunt evict.`
  static override examples = ['<%= config.bin %> leave', '<%= config.bin %> leave --yes']
  static override flags = { socket: socketFlag, yes: yesFlag }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Leave)
    const { mode, node } = await askCluster(flags.socket)
    if (mode === 'static')
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `the cluster of ${node.name} is static: take the node out of the node files of the others, restart their agents, and stop this one`,
      )
    const { nodes } = await askNodes(flags.socket)
    const lost = await askLosses(flags.socket, nodes, node.id, [])
    await confirm(
      `${lost === undefined ? '' : `${lost} `}Take ${node.name} (${node.address}) out of the cluster for ever?`,
      flags,
    )
    if (flags.yes && lost !== undefined) warn(lost)
    const { post } = await import('../control/client.ts')
    await post(flags.socket, '/v1/leave', {})
    if (flags.json)
      print(json(localEnvelope('shunt.leave/1', { node: node.name, id: node.id }, node.name), true))
    else print(`${node.name} leaves the cluster`)
    note(
      'its agent ends when its work in flight has; disable it (systemctl disable shunt). It still knows the cluster secret: shunt keys rotate at another node ends that',
    )
  }
}
