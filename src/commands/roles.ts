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
import { changeRoles, isRoleChange } from '../cli/role-change.ts'
import { ShuntError } from '../errors.ts'

export default class Roles extends BaseCommand {
  static override summary = 'Change what a node does, while it runs.'
  static override description =
    `+ROLE gives a role, -ROLE takes it; the roles are forwarder, classifier and host. Connections that a role carries go on
until they end or the drain time-out is over. A change that leaves the cluster without a role, or a service
without a host, asks first.`
  static override usage = 'roles NODE +ROLE|-ROLE...'
  static override examples = [
    '<%= config.bin %> roles h1 +classifier',
    '<%= config.bin %> roles f2 +forwarder -host',
  ]
  // The library would take -host for short options: run() takes changes out first.
  static override strict = false
  static override args = {
    node: Args.string({ description: 'Name or peer id of the node; then the changes.', required: true }),
  }
  static override flags = operatorFlags

  override async run(): Promise<void> {
    const changes = this.argv.filter(isRoleChange)
    const { args, flags, argv } = await this.parse(
      Roles,
      this.argv.filter(arg => !isRoleChange(arg)),
    )
    if (argv.length > 1)
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        `${String(argv[1])} is no change of roles: write +host or -host`,
      )
    if (changes.length === 0)
      throw new ShuntError('SHUNT_ERR_USAGE', 'nothing to change: give +ROLE or -ROLE, such as +classifier')
    const operator = await loadOperator(flags)
    const cluster = await askOwnCluster(flags.socket, operator)
    const nodes = await askNodes(flags.socket)
    const target = memberNamed(nodes, args.node)
    const roles = changeRoles(target.roles, changes)
    const done = (changed: boolean): void => {
      const data = { node: target.name, id: target.id, roles, changed }
      if (flags.json) print(json(localEnvelope('shunt.roles/1', data, cluster.node.name), true))
      else print(`${target.name}: ${roles.join(', ') || 'no roles'}${changed ? '' : ' (nothing to change)'}`)
    }
    if (sameSet(roles, target.roles)) return done(false)
    if (roles.includes('forwarder') && target.tunnel === null)
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${target.name} has no tunnel address, which a forwarder needs: let its machine leave and join again with --tunnel IPV4`,
      )
    const lost = await askLosses(flags.socket, nodes.nodes, target.id, roles)
    if (lost !== undefined) {
      await confirm(`${lost} Take the role from ${target.name}?`, flags)
      if (flags.yes) warn(lost)
    }
    const revision = target.rolesRevision + 1
    await sendStatements(
      flags.socket,
      [{ kind: 'roles', id: target.id, roles, revision, atMs: Date.now() }],
      operator,
    )
    done(true)
    if (roles.length === 0)
      note(`${target.name} has nothing to do now; shunt leave there takes it out of the cluster`)
  }
}

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every(each => b.includes(each))
