import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { refuseWhileAgentRuns } from '../cli/offline.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { parseRoles, type Setup, type SetupFlags, setupFlags, setupOf } from '../cli/setup-flags.ts'
import type { Token } from '../cluster/token.ts'
import type { NodeFacts, Statement } from '../cluster/types.ts'
import type { Role } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'

/** What was set up by a join that came to its end. */
interface Joined {
  node: NodeFacts
  clusterName: string
}

export default class Join extends BaseCommand {
  static override summary = 'Make this machine a node of a cluster, by a token.'
  static override description =
    `Asks the node that issued the token, and writes this node's identity, node file and the cluster's state. The same
machine may try again after a failure: its identity is kept, and it uses no second place of the token. A node whose state was lost, or that
was away while the keys were rotated, catches up in the same way: its node file and identity stay as they are.`
  static override examples = [
    '<%= config.bin %> join shunt1.eyJ…',
    '<%= config.bin %> join shunt1.eyJ… --name h7 --address 10.10.0.37 --roles host',
  ]
  static override args = {
    token: Args.string({
      description: 'What shunt token printed; - reads it from standard input.',
      required: true,
    }),
  }
  static override flags = {
    ...setupFlags,
    roles: Flags.string({
      description: 'What this node does; default: all that the token allows (forwarder only with --tunnel).',
      helpValue: 'ROLE,...',
    }),
  }

  override async run(): Promise<void> {
    const { args, flags } = await this.parse(Join)
    const [{ decodeToken }, { readText }] = await Promise.all([
      import('../cluster/token.ts'),
      import('../cli/standard-input.ts'),
    ])
    const token = decodeToken(args.token === '-' ? await readText() : args.token, Date.now())
    const again = existsSync(flags.config)
    if (again || existsSync(flags['control-socket'])) await refuseWhileAgentRuns(flags['control-socket'])
    const joined = await (again
      ? this.#catchUp(token, flags.config)
      : this.#join(token, flags as SetupFlags & { roles?: string }))
    const { node } = joined
    if (flags.json) {
      print(json(localEnvelope('shunt.join/1', { cluster: token.cluster, ...joined }, node.name), true))
      return
    }
    print(`node ${node.name} ${node.id}`)
    note(
      `${node.name} is a member of the cluster ${joined.clusterName} as ${node.roles.join(', ') || 'nothing yet'}`,
    )
    note(`next: start the agent: systemctl enable --now shunt (or shunt agent --config ${flags.config})`)
  }

  async #join(token: Token, flags: SetupFlags & { roles?: string }): Promise<Joined> {
    const setup = await setupOf(flags)
    const { places, facts } = setup
    const allowed = token.body.roles.filter(role => role !== 'forwarder' || facts.tunnel !== undefined)
    const roles: Role[] = flags.roles === undefined ? allowed : parseRoles(flags.roles)
    if (roles.length === 0)
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        'the token allows only the role forwarder, which needs --tunnel IPV4',
      )
    const [
      { checkFacts, Making, nodeFileText, refuseExisting },
      { clusterFile, saveCluster },
      { identitySigner },
    ] = await Promise.all([
      import('../cluster/setup.ts'),
      import('../cluster/store.ts'),
      import('../cluster/operator-key.ts'),
    ])
    refuseExisting(
      [clusterFile(places.stateDir)],
      'this machine was a node before: if it is to join anew, remove that file and its old identity, or give other places (--config, --state-dir)',
    )
    await this.#check(setup, roles)
    const making = new Making()
    try {
      for (const file of [places.identity, places.config]) making.directory(dirname(file), 0o755)
      making.directory(places.stateDir, 0o700)
      if (!existsSync(places.identity)) {
        const { createIdentity } = await import('../gossip/identity.ts')
        // Not undone: an attempt whose answer was lost must come back as the same node.
        await createIdentity(places.identity)
      }
      const signer = identitySigner(places.identity)
      const node: NodeFacts = { ...facts, roles, id: signer.id }
      checkFacts(node)
      const { joinCluster } = await import('../cluster/join-client.ts')
      const statements = await joinCluster(token, node, signer)
      const { controlPort, mappingPort, name } = await this.#view(token, statements)
      making.file(clusterFile(places.stateDir))
      saveCluster(places.stateDir, token.cluster, statements)
      making.write(places.config, nodeFileText({ ...setup, ...facts, controlPort, mappingPort }), 0o644)
      return { node: await this.#self(token, statements, node.id), clusterName: name }
    } catch (error) {
      making.undo()
      throw error
    }
  }

  /** For a member that lost its state or missed a rotation of keys. */
  async #catchUp(token: Token, config: string): Promise<Joined> {
    const [{ loadNodeFile }, { clusterFile, loadCluster, saveCluster }, { identitySigner }, { joinCluster }] =
      await Promise.all([
        import('../config/load.ts'),
        import('../cluster/store.ts'),
        import('../cluster/operator-key.ts'),
        import('../cluster/join-client.ts'),
      ])
    const file = loadNodeFile(config)
    const { stateDir, identityFile } = file.node
    if (file.cluster.secrets !== undefined)
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${config} is the node file of a static cluster and is not overwritten; move it away first, or give another --config`,
      )
    if (!existsSync(identityFile))
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${config} exists but its identity ${identityFile} does not: put it back with shunt restore, or move ${config} away to join anew`,
      )
    const stored = loadOr(() => loadCluster(stateDir))
    if (stored !== null && stored.cluster !== token.cluster)
      throw new ShuntError(
        'SHUNT_ERR_GUARD',
        `${clusterFile(stateDir)} is of the cluster ${stored.cluster}, the token of ${token.cluster}; move it away, with ${config} and ${identityFile}, to join another cluster`,
      )
    const signer = identitySigner(identityFile)
    const { cluster: address, tunnel } = file.addresses
    const known =
      stored === null ? undefined : (await this.#find(stored.cluster, stored.statements, signer.id))?.roles
    const roles = (known ?? token.body.roles).filter(role => role !== 'forwarder' || tunnel !== undefined)
    const node: NodeFacts = {
      id: signer.id,
      name: file.node.name,
      address,
      ...(tunnel !== undefined && { tunnel }),
      roles: roles.length === 0 ? ['host'] : roles,
    }
    const statements = await joinCluster(token, node, signer)
    // What only this node knows may be new to the others.
    saveCluster(
      stateDir,
      token.cluster,
      await this.#merged(token.cluster, [...(stored?.statements ?? []), ...statements]),
    )
    const { name } = await this.#view(token, statements)
    note(`kept ${config} and ${identityFile}; wrote ${clusterFile(stateDir)}`)
    return { node: await this.#self(token, statements, signer.id), clusterName: name }
  }

  /** Before anything is made: the node file that these flags give must be a right one. */
  async #check(setup: Setup, roles: readonly Role[]): Promise<void> {
    const [{ nodeFileText }, { parseNodeFile }] = await Promise.all([
      import('../cluster/setup.ts'),
      import('../config/load.ts'),
    ])
    if (roles.includes('forwarder') && setup.facts.tunnel === undefined)
      throw new ShuntError(
        'SHUNT_ERR_USAGE',
        'the role forwarder needs --tunnel IPV4, an address used for nothing else',
      )
    parseNodeFile(
      nodeFileText({ ...setup, ...setup.facts, controlPort: 6780, mappingPort: 6781 }),
      setup.places.config,
    )
  }

  async #ledger(cluster: string, statements: readonly Statement[]) {
    const { Ledger } = await import('../cluster/ledger.ts')
    const ledger = new Ledger(cluster)
    for (const statement of statements) ledger.add(statement)
    return ledger
  }
  async #merged(cluster: string, statements: readonly Statement[]): Promise<Statement[]> {
    return (await this.#ledger(cluster, statements)).statements()
  }
  async #viewOf(cluster: string, statements: readonly Statement[]) {
    const { clusterView } = await import('../cluster/view.ts')
    return clusterView(await this.#ledger(cluster, statements))
  }
  /** joinCluster answered, so there is one. */
  async #view(token: Token, statements: readonly Statement[]) {
    return (await this.#viewOf(token.cluster, statements))!
  }
  async #find(cluster: string, statements: readonly Statement[], id: string) {
    return (await this.#viewOf(cluster, statements))?.members.find(member => member.id === id)
  }
  async #self(token: Token, statements: readonly Statement[], id: string): Promise<NodeFacts> {
    const { name, address, tunnel, roles } = (await this.#find(token.cluster, statements, id))!
    return { id, name, address, ...(tunnel !== undefined && { tunnel }), roles }
  }
}

/** State that is damaged is what this command repairs. */
const loadOr = <T>(load: () => T | null): T | null => {
  try {
    return load()
  } catch (error) {
    if (error instanceof ShuntError && error.code === 'SHUNT_ERR_STATE') return null
    throw error
  }
}
