import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { Args, Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { refuseWhileAgentRuns } from '../cli/offline.ts'
import { confirm, yesFlag } from '../cli/operator.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import {
  checkTunnel,
  parseRoles,
  type Setup,
  type SetupFlags,
  setupFlags,
  setupOf,
} from '../cli/setup-flags.ts'
import { startHint } from '../cli/start-hint.ts'
import { moreAddresses } from '../cluster/fact-addresses.ts'
import type { Token } from '../cluster/token.ts'
import type { NodeFacts, Statement } from '../cluster/types.ts'
import type { Role } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'

/** What was set up by a join that came to its end. */
interface Joined {
  node: NodeFacts
  clusterName: string
}

type JoinFlags = SetupFlags & { roles?: string; anew: boolean; yes: boolean }

const PORTS = { controlPort: 6780, mappingPort: 6781 }

export default class Join extends BaseCommand {
  static override summary = 'Make this machine a node of a cluster, by a token.'
  static override description =
    `Asks the node that issued the token, and writes this node's identity, node file and the cluster's state. The same
machine may try again after a failure: its identity is kept, and it uses no second place of the token. A node whose state was lost, or that
was away while the keys were rotated, catches up in the same way: its node file and identity stay as they are. A machine whose node has left
or was evicted comes back with --anew, as a new node.`
  static override examples = [
    '<%= config.bin %> join shunt1.eyJ…',
    '<%= config.bin %> join shunt1.eyJ… --name h7 --address 10.10.0.37 --roles host',
    '<%= config.bin %> join shunt1.eyJ… --anew',
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
    anew: Flags.boolean({
      description:
        'Join as a new node: first remove the node file, the identity and the state of the node that this machine was. Asks first.',
    }),
    yes: yesFlag,
  }

  override async run(): Promise<void> {
    const { args, flags, raw } = await this.parse(Join)
    const given = new Set(raw.flatMap(token => (token.type === 'flag' ? [token.flag] : [])))
    const [{ decodeToken }, { readText }] = await Promise.all([
      import('../cluster/token.ts'),
      import('../cli/standard-input.ts'),
    ])
    const token = decodeToken(args.token === '-' ? await readText() : args.token, Date.now())
    const again = existsSync(flags.config)
    if (again || existsSync(flags['control-socket'])) await refuseWhileAgentRuns(flags['control-socket'])
    const joined = await (again && !flags.anew
      ? this.#catchUp(token, flags as JoinFlags, given)
      : this.#join(token, flags as JoinFlags))
    const { node } = joined
    if (flags.json) {
      print(json(localEnvelope('shunt.join/1', { cluster: token.cluster, ...joined }, node.name), true))
      return
    }
    print(`node ${node.name} ${node.id}`)
    note(
      `${node.name} is a member of the cluster ${joined.clusterName} as ${node.roles.join(', ') || 'nothing yet'}`,
    )
    note(`next: start the agent: ${startHint(flags.config)}`)
  }

  async #join(token: Token, flags: JoinFlags): Promise<Joined> {
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
      { anewHint, formerFiles },
    ] = await Promise.all([
      import('../cluster/setup.ts'),
      import('../cluster/store.ts'),
      import('../cluster/operator-key.ts'),
      import('../cli/former-node.ts'),
    ])
    await this.#check(setup, roles, flags)
    const former = await formerFiles(flags)
    if (flags.anew) await this.#forget(former, flags)
    else
      refuseExisting(
        [clusterFile(places.stateDir)],
        `this machine was a node before: ${anewHint(former)}; or put its node file back with shunt restore`,
      )
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
      if (flags.anew && former.length > 0)
        note('what was there before is removed: to try again, leave --anew out')
      throw error
    }
  }

  /** The identity and all that goes with it; a member that is still one should leave first. */
  async #forget(files: readonly string[], flags: JoinFlags): Promise<void> {
    if (files.length === 0) return
    const { readFormer, refuseStatic, removeFormer } = await import('../cli/former-node.ts')
    const file = await readFormer(flags.config)
    if (file !== null) {
      refuseStatic(file, flags.config)
      await refuseWhileAgentRuns(file.node.controlSocket)
    }
    const was = file === null ? '' : ` of ${file.node.name} (${file.addresses.cluster})`
    await confirm(
      `Remove ${files.join(', ')}${was}, and join as a new node? The node that this machine was can never come back without them.`,
      flags,
    )
    removeFormer(files)
    for (const path of files) note(`removed ${path}`)
  }

  /** For a member that lost its state or missed a rotation of keys. */
  async #catchUp(token: Token, flags: JoinFlags, given: ReadonlySet<string>): Promise<Joined> {
    const { config } = flags
    const [
      { loadNodeFile },
      { clusterFile, loadCluster, saveCluster },
      { identitySigner },
      { joinCluster },
      { anewHint, contradictions, formerFiles, refuseStatic },
    ] = await Promise.all([
      import('../config/load.ts'),
      import('../cluster/store.ts'),
      import('../cluster/operator-key.ts'),
      import('../cluster/join-client.ts'),
      import('../cli/former-node.ts'),
    ])
    const file = loadNodeFile(config)
    const { stateDir, identityFile } = file.node
    refuseStatic(file, config)
    await refuseWhileAgentRuns(file.node.controlSocket)
    const anew = anewHint(await formerFiles(flags))
    const refuse = (why: string): ShuntError => new ShuntError('SHUNT_ERR_GUARD', `${why}; ${anew}`)
    const other = contradictions(file, flags, given)
    if (other.length > 0)
      throw refuse(
        `${config} is the node file of ${file.node.name} and is kept, but says otherwise: ${other.join(', ')}. Leave these flags out to come back as that node`,
      )
    if (!existsSync(identityFile))
      throw refuse(
        `${config} exists but its identity ${identityFile} does not: put it back with shunt restore`,
      )
    const stored = loadOr(() => loadCluster(stateDir))
    if (stored !== null && stored.cluster !== token.cluster)
      throw refuse(
        `${clusterFile(stateDir)} is of the cluster ${stored.cluster}, the token of ${token.cluster}`,
      )
    const signer = identitySigner(identityFile)
    const { cluster: address, tunnel, cluster6: address6, tunnel6 } = file.addresses
    const view = stored === null ? null : await this.#viewOf(stored.cluster, stored.statements)
    const gone = view?.departed.find(departed => departed.id === signer.id)
    if (gone !== undefined)
      throw refuse(
        `${gone.name}, the node of this machine, ${gone.reason === 'left' ? 'has left the cluster' : 'was evicted'}, which is for ever`,
      )
    const known = view?.members.find(member => member.id === signer.id)?.roles
    const roles = (known ?? token.body.roles).filter(role => role !== 'forwarder' || tunnel !== undefined)
    const node: NodeFacts = {
      id: signer.id,
      name: file.node.name,
      address,
      ...moreAddresses({ tunnel, address6, tunnel6 }),
      roles: roles.length === 0 ? ['host'] : roles,
    }
    const statements = await joinCluster(token, node, signer).catch((error: unknown) => {
      // Said of an identity that is gone for ever.
      throw error instanceof ShuntError && error.message.includes('--anew')
        ? new ShuntError(error.code, `${error.message}; ${anew}`, { cause: error })
        : error
    })
    // What only this node knows may be new to the others.
    saveCluster(
      stateDir,
      token.cluster,
      await this.#merged(token.cluster, [...(stored?.statements ?? []), ...statements]),
    )
    const { name } = await this.#view(token, statements)
    note(`kept ${config} and ${identityFile}; wrote ${clusterFile(stateDir)}`)
    const self = await this.#self(token, statements, signer.id)
    if (flags.roles !== undefined && parseRoles(flags.roles).join() !== self.roles.join())
      note(`${self.name} keeps its roles: shunt roles changes them`)
    return { node: self, clusterName: name }
  }

  /** Before anything is made, and before the token is used: what these flags give must be right, and of this machine. */
  async #check(setup: Setup, roles: readonly Role[], { unchecked }: JoinFlags): Promise<void> {
    checkTunnel(roles, setup.facts.tunnel)
    const { checkMachine, nodeFileOf } = await import('../cli/setup-check.ts')
    nodeFileOf(setup, PORTS)
    if (!unchecked) await checkMachine(setup)
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
    const self = (await this.#find(token.cluster, statements, id))!
    const { name, address, roles } = self
    return { id, name, address, ...moreAddresses(self), roles }
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
