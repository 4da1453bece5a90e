import { BaseCommand } from '../cli/base-command.ts'
import { configFlag } from '../cli/setup-flags.ts'

export default class Agent extends BaseCommand {
  static override summary = 'Run the agent of this node until SIGTERM or SIGINT.'
  static override description =
    `Runs in the foreground, as root, and logs JSON lines on standard error. The first signal lets
what is in flight end (timeouts.drain), a second one ends the agent at once. See shunt-node.yaml(5).`
  static override examples = ['<%= config.bin %> agent --config /etc/shunt/node.yaml']
  static override flags = {
    config: configFlag,
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Agent)
    const { loadNodeFile } = await import('../config/load.ts')
    const file = loadNodeFile(flags.config)
    const { runAgent } = await import('../agent/agent.ts')
    await runAgent(file)
  }
}
