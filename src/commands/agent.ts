import { Flags } from '@oclif/core'
import { BaseCommand } from '../cli/base-command.ts'

export default class Agent extends BaseCommand {
  static override summary = 'Run the agent of this node until SIGTERM or SIGINT.'
  static override description =
    `Runs in the foreground, as root, and logs JSON lines on standard error. The first signal lets
what is in flight end (timeouts.drain), a second one ends the agent at once. See shunt-node.yaml(5).`
  static override examples = ['<%= config.bin %> agent --config /etc/shunt/node.yaml']
  static override flags = {
    config: Flags.string({
      char: 'c',
      description: 'The node file.',
      env: 'SHUNT_CONFIG',
      default: '/etc/shunt/node.yaml',
      helpValue: 'FILE',
    }),
  }

  override async run(): Promise<void> {
    const { flags } = await this.parse(Agent)
    const { loadNodeFile } = await import('../config/load.ts')
    const file = loadNodeFile(flags.config)
    const { runAgent } = await import('../agent/agent.ts')
    await runAgent(file)
  }
}
