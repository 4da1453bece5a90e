import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'
import { json, localEnvelope, note, print } from '../cli/output.ts'
import { configFlag } from '../cli/setup-flags.ts'
import { ShuntError } from '../errors.ts'

export default class Agent extends BaseCommand {
  static override summary = 'Run the agent of this node until SIGTERM or SIGINT.'
  static override description =
    `Runs in the foreground, as root, and logs JSON lines on standard error. The first signal lets
what is in flight end (timeouts.drain), a second one ends the agent at once; then the kernel is as
it was before. See shunt-node.yaml(5).

An agent that is killed, that fails, or that gets SIGUSR2 leaves the kernel at work (systemctl restart sends SIGUSR2 and then starts the next agent; after a SIGUSR2
of your own, and in a lab, start it yourself: systemctl start shunt, or shunt lab start): known connections go on, by XDP without any limit of time, by nftables until their
routes' lease ends (timeouts.routeLease); new ones wait for the next agent, or go on for timeouts.unattended
where XDP chooses by itself (forwarder and classifier on one node). With nftables, connections of pools with delivery: encapsulate stand still while the agent of
their forwarder or of their host is away, because they go through both agents; with XDP they go on. The next agent goes on with all
flows, mappings and the kernel's counters, also if it is of another version. --flush removes what an agent left,
for a node that is to have none any more.`
  static override examples = [
    '<%= config.bin %> agent --config /etc/shunt/node.yaml',
    '<%= config.bin %> agent --flush',
  ]
  static override flags = {
    config: configFlag,
    flush: Flags.boolean({
      description:
        'Run no agent: remove everything that one left behind (XDP programs, pinned maps, nftables, addresses, settings) and say what. Exit code 5 while an agent runs.',
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Agent)
    const { loadNodeFile } = await import('../config/load.ts')
    const file = loaded(flags.config, loadNodeFile)
    if (flags.flush) {
      const { flushNode } = await import('../agent/flush.ts')
      const { removed, failed } = await flushNode(file)
      if (flags.json)
        print(json(localEnvelope('shunt.agent.flush/1', { removed, failed }, file.node.name), true))
      else if (removed.length === 0 && failed.length === 0) note('nothing was left of an agent')
      else for (const line of removed) print(`removed: ${line}`)
      if (failed.length > 0)
        throw new ShuntError('SHUNT_ERR_OS', `these are left: ${failed.join('; ')}; try again`)
      return
    }
    const { runAgent } = await import('../agent/agent.ts')
    await runAgent(file)
  }
}

/** One that is not there is no fault of the file's: what makes it is said. */
const loaded = <T>(path: string, load: (path: string) => T): T => {
  try {
    return load(path)
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException
    if (code !== 'ENOENT') throw error
    throw new ShuntError(
      'SHUNT_ERR_CONFIG',
      `there is no node file ${path}: shunt init makes it on the first node of a cluster, shunt join on each further one; --config names another`,
    )
  }
}
