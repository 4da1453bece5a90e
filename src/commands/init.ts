import { dirname } from 'node:path'
import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { operatorKeyFlag } from '../cli/operator.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { checkTunnel, parseRoles, type SetupFlags, setupFlags, setupOf } from '../cli/setup-flags.ts'
import { startHint } from '../cli/start-hint.ts'
import type { NodeFacts } from '../cluster/types.ts'
import type { Role } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'

export default class Init extends BaseCommand {
  static override summary = 'Make a new cluster, with this machine as its first node.'
  static override description =
    `Writes the operator's key, this node's identity, its node file and the cluster's first state: all of them,
or nothing. A file that exists is never overwritten (exit code 5). The operator's key signs every change of the cluster; keep it,
with a copy, on the machine from which you operate. Agents never need it.`
  static override examples = [
    '<%= config.bin %> init --tunnel 10.10.1.11',
    '<%= config.bin %> init --name f1 --address 10.10.0.11 --tunnel 10.10.1.11 --roles forwarder,classifier',
  ]
  static override flags = {
    ...setupFlags,
    roles: Flags.string({
      description: 'What this node does; default: all three roles with --tunnel, else classifier and host.',
      helpValue: 'ROLE,...',
    }),
    'cluster-name': Flags.string({
      description: 'Name of the cluster, for people.',
      default: 'shunt',
      helpValue: 'NAME',
    }),
    'control-port': Flags.integer({
      description: 'TCP port of the control links, on all nodes.',
      default: 6780,
      min: 1,
      max: 65_535,
      helpValue: 'PORT',
    }),
    'mapping-port': Flags.integer({
      description: 'UDP port of the mapping datagrams, on all nodes.',
      default: 6781,
      min: 1,
      max: 65_535,
      helpValue: 'PORT',
    }),
    'operator-key': operatorKeyFlag,
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Init)
    const setup = await setupOf(flags as SetupFlags)
    const { places, facts } = setup
    const fallback: Role[] =
      facts.tunnel === undefined ? ['classifier', 'host'] : ['forwarder', 'classifier', 'host']
    const roles = flags.roles === undefined ? fallback : parseRoles(flags.roles)
    checkTunnel(roles, facts.tunnel)
    if (!/^[a-z0-9-]{1,63}$/.test(flags['cluster-name']))
      throw new ShuntError('SHUNT_ERR_USAGE', '--cluster-name: must be 1 to 63 of a-z, 0-9 and -')
    const [
      { checkFacts, firstStatements, Making, refuseExisting, stateFiles },
      { checkMachine, nodeFileOf },
    ] = await Promise.all([import('../cluster/setup.ts'), import('../cli/setup-check.ts')])
    const ports = { controlPort: flags['control-port'], mappingPort: flags['mapping-port'] }
    const text = nodeFileOf(setup, ports)
    if (!flags.unchecked) await checkMachine(setup)
    const operatorKey = flags['operator-key']
    refuseExisting(
      [operatorKey, places.identity, ...stateFiles(places)],
      'this machine may be a node already. Move them away to begin anew, or give other places (--config, --state-dir, --operator-key)',
    )
    const [{ createIdentity }, { createOperatorKey }, { saveCluster }] = await Promise.all([
      import('../gossip/identity.ts'),
      import('../cluster/operator-key.ts'),
      import('../cluster/store.ts'),
    ])
    const making = new Making()
    let cluster: string
    let node: NodeFacts
    try {
      for (const file of [operatorKey, places.identity, places.config]) making.directory(dirname(file), 0o755)
      making.directory(places.stateDir, 0o700)
      for (const file of [operatorKey, places.identity, stateFiles(places)[1]!]) making.file(file)
      const operator = createOperatorKey(operatorKey)
      cluster = operator.cluster
      node = { ...facts, roles, id: await createIdentity(places.identity) }
      checkFacts(node)
      saveCluster(
        places.stateDir,
        cluster,
        firstStatements(operator, { name: flags['cluster-name'], ...ports }, node, Date.now()),
      )
      // Last: an agent that finds a node file finds all that it names.
      making.write(places.config, text, 0o644)
    } catch (error) {
      making.undo()
      throw error
    }
    if (flags.json) {
      print(
        json(
          localEnvelope(
            'shunt.init/1',
            { cluster, clusterName: flags['cluster-name'], node, files: { ...places, operatorKey } },
            node.name,
          ),
          true,
        ),
      )
      return
    }
    print(`cluster ${cluster}`)
    print(`node ${node.name} ${node.id}`)
    const without =
      flags.roles === undefined && facts.tunnel === undefined ? '; no forwarder: no --tunnel' : ''
    note(`${node.name} is a member as ${roles.join(', ')}${without}`)
    note(`wrote ${places.config}, ${places.identity}, ${places.stateDir}/cluster.json and ${operatorKey}`)
    note(`next:
  1. keep a copy of ${operatorKey} in a safe place: without it the cluster cannot be changed
  2. start the agent: ${startHint(places.config)}
  3. let other machines join: shunt token, and there shunt join TOKEN
  4. say what clients reach: shunt apply -f cluster.yaml (see shunt-cluster.yaml(5))`)
  }
}
